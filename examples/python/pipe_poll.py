"""Another process finds the prime factors of a number and sends each as soon as it has it; this one polls.

`poll` says whether there is something to receive, after waiting for it for some time at most: a program with other things to
do need not block. The end of the pipe is something, too.
"""

import tasuki as multiprocessing

NUMBER = 9 * 10007 * 65537


def find_factors(line):
    number = line.recv()
    candidate = 2
    while candidate * candidate <= number:
        while number % candidate == 0:
            line.send(candidate)
            number //= candidate
        candidate += 1
    if number > 1:
        line.send(number)


if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=find_factors, args=(theirs,))
    process.start()
    theirs.close()
    print("something before there is a number:", ours.poll(0.1))
    ours.send(NUMBER)
    product = 1
    while True:
        while not ours.poll(0.5):
            pass  # the time to do something else
        try:
            factor = ours.recv()
        except EOFError:
            break
        product *= factor
        print("factor", factor)
    print("that was all, and their product is right:", product == NUMBER)
    process.join()
