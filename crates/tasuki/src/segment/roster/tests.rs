//! What a roster promises to those who hold a token.

use super::claim::TURN;
use super::row::{FREE, GENERATIONS, LIVE, left_bit, pack};
use super::{Roster, Token};
use crate::error::Error;
use crate::segment::{Kind, Segment, Shape, payload};
use crate::sync::atomic::Ordering;
use crate::sys::memory::PAGE;

fn segment(rows: usize) -> std::sync::Arc<Segment> {
    let shape = Shape { rows, capacity: payload(rows) + PAGE };
    Segment::create(Kind::Queue, "roster", shape).unwrap()
}

/// What a process does that comes, and goes again.
fn come_and_go(roster: Roster<'_>) -> Token {
    let token = roster.claim().unwrap();
    let live = pack(LIVE, token.generation(), 0);
    let free = pack(FREE, token.generation() + 1, 0);
    let row = roster.row(token.row()).unwrap();
    row.state.compare_exchange(live, free, Ordering::AcqRel, Ordering::Relaxed).unwrap();
    token
}

#[test]
fn a_token_names_nobody_else_until_all_generations_of_many_rows_are_over() {
    let segment = segment(128);
    let roster = segment.roster();
    let killed = roster.claim().unwrap();
    roster
        .row(killed.row())
        .unwrap()
        .state
        .store(pack(FREE, killed.generation() + 1, 0), Ordering::Relaxed);
    let others = TURN * (GENERATIONS as usize - 1);
    for _ in 0..others {
        let token = come_and_go(roster);
        assert_ne!(token, killed);
        assert!(!roster.is_alive(killed));
        assert!(Token::from_bits(token.bits()) == Some(token));
    }
    // With so few generations it comes round.
    assert!((0..=TURN).any(|_| come_and_go(roster) == killed));
}

#[test]
fn who_left_is_known_for_a_while_and_then_nothing_even_where_generations_come_round() {
    let segment = segment(32);
    let roster = segment.roster();
    let mut tokens = std::collections::VecDeque::new();
    for number in 0..32 * 3 * GENERATIONS {
        let token = roster.claim().unwrap();
        let row = roster.row(token.row()).unwrap();
        let left = number % 3 == 0;
        if left {
            row.left.fetch_or(left_bit(token.generation()), Ordering::Release);
        }
        row.state.store(pack(FREE, token.generation() + 1, 0), Ordering::Release);
        tokens.push_back((token, left));
        if tokens.len() > 32 * 61 {
            let (old, left) = tokens.pop_front().unwrap();
            assert_eq!(roster.has_left(old), Some(left), "{number}");
        }
    }
}

#[test]
fn a_row_stays_free_when_its_owner_could_not_be_entered() {
    // An arena too short for its tables: the process cannot say there what it holds.
    let shape = Shape { rows: 32, capacity: payload(32) + PAGE };
    let segment = Segment::create(Kind::Arena, "roster", shape).unwrap();
    for _ in 0..100 {
        assert!(matches!(segment.my_row(), Err(Error::Invalid(_))));
        assert!((0..32).all(|row| !segment.roster().is_taken(row)));
    }
}

#[test]
fn rows_without_end_are_handed_out_to_processes_that_live_and_the_limit_is_told() {
    let segment = segment(64);
    let roster = segment.roster();
    let tokens: Vec<Token> = (0..64).map(|_| roster.claim().unwrap()).collect();
    assert!(tokens.iter().all(|&token| roster.is_alive(token)));
    assert!(matches!(roster.claim(), Err(Error::Limit(_))));
    // The next one that leaves makes room, wherever it is.
    let row = roster.row(17).unwrap();
    row.state.store(pack(FREE, 1, 0), Ordering::Release);
    assert_eq!(roster.claim().unwrap().row(), 17);
}
