//! A lock that its owner may take again, for functions that need it and call each other.
//!
//! `pay_in` and `pay_out` take the lock of the accounts, since either may be called alone. `transfer` takes it too, so
//! that nobody sees money that has left one account and not arrived in the other, and then calls both. An ordinary lock
//! would wait there for its own owner, for ever.

use std::error::Error;

use tasuki::{Array, Process, RLock};

const ANNA: usize = 0;
const BEN: usize = 1;

fn pay_in(accounts: &Array<i64>, lock: &RLock, who: usize, amount: i64) {
    let _guard = lock.lock().unwrap();
    accounts.set(who, accounts.get(who) + amount).unwrap();
}

fn pay_out(accounts: &Array<i64>, lock: &RLock, who: usize, amount: i64) {
    let _guard = lock.lock().unwrap();
    accounts.set(who, accounts.get(who) - amount).unwrap();
}

fn transfer(accounts: &Array<i64>, lock: &RLock, payer: usize, payee: usize, amount: i64) {
    let _guard = lock.lock().unwrap();
    pay_out(accounts, lock, payer, amount);
    pay_in(accounts, lock, payee, amount);
}

#[tasuki::task]
fn trade(accounts: Array<i64>, lock: RLock, payer: usize, payee: usize, amount: i64) {
    for _ in 0..100 {
        transfer(&accounts, &lock, payer, payee, amount);
        let _guard = lock.lock().unwrap();
        assert_eq!(accounts.to_vec().iter().sum::<i64>(), 1000);
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let accounts = Array::from_slice(&[500, 500])?;
    let lock = RLock::new()?;
    let processes = [(ANNA, BEN, 3), (BEN, ANNA, 1), (BEN, ANNA, 4)]
        .map(|(payer, payee, amount)| {
            Process::spawn(trade, (accounts.clone(), lock.clone(), payer, payee, amount))
        })
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    for process in processes {
        process.join()?;
    }
    println!("every look in between saw all the money: True");
    println!("Anna has {}, Ben has {}", accounts.get(ANNA), accounts.get(BEN));
    Ok(())
}
