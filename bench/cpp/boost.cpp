// Boost.Interprocess as a peer: `boost-bench QUESTION OPERATIONS` prints the seconds as JSON, as the Rust side does for
// itself. Objects lie in anonymous shared memory, workers are forked, and every run checks its result.

#include <boost/interprocess/sync/interprocess_condition.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/interprocess_semaphore.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace boost::interprocess;
using Guard = scoped_lock<interprocess_mutex>;

constexpr unsigned WATCHDOG = 100; // seconds

struct Shared {
    interprocess_mutex mutex;
    interprocess_condition turns[2];
    interprocess_semaphore semaphore{1};
    std::uint64_t counter = 0;
    std::atomic<unsigned> ready{0};
    std::atomic<std::int64_t> began{INT64_MAX};
    std::atomic<std::int64_t> ended{0};
};

[[noreturn]] static void fail(const char *what) {
    std::fprintf(stderr, "%s\n", what);
    std::_Exit(1);
}

static Shared &shared() {
    void *memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("no shared memory");
    return *new (memory) Shared;
}

static std::int64_t now() {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds from the first worker's start to the last one's end.
static double processes(Shared &board, const std::vector<std::function<void()>> &workers) {
    for (const auto &worker : workers) {
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(WATCHDOG);
            board.ready++;
            while (board.ready < workers.size()) std::this_thread::yield();
            std::int64_t begin = now(), seen = board.began;
            while (begin < seen && !board.began.compare_exchange_weak(seen, begin)) {}
            worker();
            std::int64_t end = now();
            seen = board.ended;
            while (end > seen && !board.ended.compare_exchange_weak(seen, end)) {}
            std::_Exit(0);
        }
    }
    for (std::size_t left = workers.size(); left > 0; left--) {
        int status = 0;
        wait(&status);
        if (status != 0) fail("a worker failed");
    }
    return double(board.ended - board.began) / 1e9;
}

template <typename Work> static double alone(Work work) {
    std::int64_t start = now();
    work();
    return double(now() - start) / 1e9;
}

static double lock_free(Shared &board, std::uint64_t times) {
    return alone([&] {
        for (std::uint64_t n = 0; n < times; n++) {
            Guard guard(board.mutex);
            board.counter++;
        }
    });
}

static double lock_contended(Shared &board, std::uint64_t each, unsigned workers) {
    auto work = [&] {
        for (std::uint64_t n = 0; n < each; n++) {
            Guard guard(board.mutex);
            board.counter++;
        }
    };
    return processes(board, std::vector<std::function<void()>>(workers, work));
}

static double semaphore_free(Shared &board, std::uint64_t times) {
    return alone([&] {
        for (std::uint64_t n = 0; n < times; n++) {
            board.semaphore.wait();
            board.counter++;
            board.semaphore.post();
        }
    });
}

static double condition_round_trip(Shared &board, std::uint64_t rounds) {
    auto player = [&](unsigned parity) {
        return [&board, rounds, parity] {
            for (std::uint64_t n = 0; n < rounds; n++) {
                Guard guard(board.mutex);
                while (board.counter % 2 != parity) board.turns[parity].wait(guard);
                board.counter++;
                board.turns[1 - parity].notify_one();
            }
        };
    };
    return processes(board, {player(0), player(1)});
}

int main(int argc, char **argv) {
    if (argc != 3) fail("boost-bench QUESTION OPERATIONS");
    alarm(WATCHDOG);
    const std::string question = argv[1];
    const std::uint64_t operations = std::strtoull(argv[2], nullptr, 10);
    Shared &board = shared();
    std::uint64_t expected = operations;
    double seconds = 0;
    if (question == "lock-free") {
        seconds = lock_free(board, operations);
    } else if (question == "lock-contended-2" || question == "lock-contended-4") {
        unsigned workers = question.back() - '0';
        std::uint64_t each = (operations + workers - 1) / workers;
        expected = each * workers;
        seconds = lock_contended(board, each, workers);
    } else if (question == "semaphore-free") {
        seconds = semaphore_free(board, operations);
    } else if (question == "condition-round-trip") {
        expected = 2 * operations;
        seconds = condition_round_trip(board, operations);
    } else {
        fail("no such question");
    }
    if (board.counter != expected) fail("a count was lost");
    const bool two_steps = question == "condition-round-trip";
    std::printf("{\"operations\": %llu, \"seconds\": %.9f}\n",
                (unsigned long long)(two_steps ? operations : expected), seconds);
}
