//! iceoryx2: samples in shared memory that a publisher loans and a subscriber reads in place.
//!
//! A subscriber has no wait of its own. One that is to answer at once looks again and again; one that is to sleep has
//! an event beside its service, which the publisher's side raises after each sample, as iceoryx2's own examples do. Its
//! files have the names that `bench/run.py` gives, which removes what a killed run leaves.

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;

use super::{End, Link};

/// Publish-subscribe, looking all the time.
pub struct Looking;

/// Publish-subscribe and events, asleep until there is something.
pub struct Events;

const ROOM: usize = 16;

/// The name of the service that this end sends to, and of the one that it hears.
type Half = [String; 2];

fn halves() -> [Half; 2] {
    let [there, back] = ["there", "back"].map(service_name);
    [[there.clone(), back.clone()], [back, there]]
}

/// A name that no other run has.
pub fn service_name(what: &str) -> String {
    format!("tasuki-bench/{}/{what}", std::process::id())
}

/// A process's own membership.
pub fn node() -> Node<ipc::Service> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    if let Ok(folder) = std::env::var("TASUKI_BENCH_FOLDER") {
        config.global.set_root_path(&Path::new(folder.as_bytes()).expect("a path"));
    }
    if let Ok(prefix) = std::env::var("TASUKI_BENCH_PREFIX") {
        config.global.prefix = FileName::new(prefix.as_bytes()).expect("a name");
    }
    NodeBuilder::new().config(&config).create::<ipc::Service>().unwrap()
}

impl Link for Looking {
    type Half = Half;

    fn halves() -> [Half; 2] {
        halves()
    }

    fn open([out, inward]: Half) -> impl End {
        Samples::open(&node(), &out, &inward)
    }
}

struct Samples {
    publisher: Publisher<ipc::Service, u64, ()>,
    subscriber: Subscriber<ipc::Service, u64, ()>,
}

impl Samples {
    fn open(node: &Node<ipc::Service>, out: &str, inward: &str) -> Samples {
        let service = |name: &str| {
            node.service_builder(&name.try_into().unwrap())
                .publish_subscribe::<u64>()
                .enable_safe_overflow(false)
                .subscriber_max_buffer_size(ROOM)
                .open_or_create()
                .unwrap()
        };
        let (out, inward) = (service(out), service(inward));
        let subscriber = inward.subscriber_builder().create().unwrap();
        let publisher = out
            .publisher_builder()
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .unwrap();
        until(|| out.dynamic_config().number_of_subscribers() == 1);
        until(|| inward.dynamic_config().number_of_publishers() == 1);
        Samples { publisher, subscriber }
    }
}

/// Waits for the other side to be there, or for a sample to reach it: a publisher whose buffer is full before the
/// subscriber has connected to it says "delivered to nobody" instead of waiting.
pub fn until(there: impl Fn() -> bool) {
    while !there() {
        std::thread::yield_now();
    }
}

/// Looks until there is something.
#[inline]
pub fn look<T>(receive: impl Fn() -> Option<T>) -> T {
    loop {
        match receive() {
            Some(sample) => return sample,
            None => std::hint::spin_loop(),
        }
    }
}

impl End for Samples {
    #[inline]
    fn send(&mut self, number: u64) {
        assert_eq!(self.publisher.send_copy(number).unwrap(), 1, "one subscriber has it");
    }

    #[inline]
    fn receive(&mut self) -> u64 {
        *look(|| self.subscriber.receive().unwrap())
    }
}

impl Link for Events {
    type Half = Half;

    fn halves() -> [Half; 2] {
        halves()
    }

    fn open([out, inward]: Half) -> impl End {
        let node = node();
        let event = |name: &str| {
            node.service_builder(&name.try_into().unwrap()).event().open_or_create().unwrap()
        };
        let (raises, hears) = (event(&out), event(&inward));
        let listener = hears.listener_builder().create().unwrap();
        let notifier = raises.notifier_builder().create().unwrap();
        until(|| raises.dynamic_config().number_of_listeners() == 1);
        Woken { samples: Samples::open(&node, &out, &inward), notifier, listener }
    }
}

struct Woken {
    samples: Samples,
    notifier: Notifier<ipc::Service>,
    listener: Listener<ipc::Service>,
}

impl End for Woken {
    fn send(&mut self, number: u64) {
        self.samples.send(number);
        self.notifier.notify().unwrap();
    }

    fn receive(&mut self) -> u64 {
        loop {
            if let Some(sample) = self.samples.subscriber.receive().unwrap() {
                return *sample;
            }
            self.listener.blocking_wait(|_| ()).unwrap();
        }
    }
}
