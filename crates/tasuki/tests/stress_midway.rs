//! Receivers that give up in the middle of large messages, at every moment, and go on with them: nothing is lost, and
//! the parts that come later wake them.

mod support;

use std::time::Duration;

use support::{Dice, Ended, fork, watchdog};
use tasuki::connection::simplex;

/// Were a receiver that goes on woken by the end of its slice of time only, these would take minutes, and the watchdog
/// ends that.
const MESSAGES: u64 = 1000;
const LEN: usize = 1 << 20;

#[test]
fn who_gave_up_midway_goes_on_and_is_woken() {
    let _watchdog = watchdog();
    let mut dice = Dice::roll("midway");
    let (receiver, sender) = simplex::<Vec<u8>>().unwrap();
    let mut other = fork(|| {
        let mut message = vec![7; LEN];
        for number in 0..MESSAGES {
            message[..8].copy_from_slice(&number.to_le_bytes());
            message[LEN - 8..].copy_from_slice(&number.to_le_bytes());
            sender.send(message.clone()).unwrap();
        }
    });
    let mut gave_up = 0;
    for number in 0..MESSAGES {
        // Some looks that do not wait, or not long, and then one that does.
        let mut bytes = None;
        for _ in 0..dice.below(3) {
            let tried = match dice.below(2) {
                0 => receiver.try_recv(),
                _ => receiver.recv_timeout(Duration::from_micros(dice.below(100))),
            };
            match tried {
                Ok(message) => {
                    bytes = Some(message);
                    break;
                }
                Err(error) => {
                    assert!(error.is_empty(), "{error}");
                    gave_up += 1;
                }
            }
        }
        let bytes = bytes.unwrap_or_else(|| receiver.recv().unwrap());
        assert_eq!(bytes.len(), LEN);
        assert_eq!(bytes[..8], number.to_le_bytes());
        assert_eq!(bytes[LEN - 8..], number.to_le_bytes());
    }
    println!("gave up {gave_up} times");
    assert_eq!(other.wait(), Ended::WELL);
}
