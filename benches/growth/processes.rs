//! Compares eight processes with one.

use crate::sessions::{create, load, save, small_values};
use crate::support::fork::children_of;
use crate::support::meter::{Call, median};
use crate::support::pick;
use multi_process_session::SessionManager;
use std::time::{Duration, Instant};

/// Makes the calls of one process on the session of this `Cookie` header.
type CallsOf = for<'a> fn(&'a SessionManager, &'a str) -> Call<'a>;

/// Compares how many calls eight processes make in a second, and how many one makes.
pub(crate) fn many_processes(store: &str, manager: &SessionManager) {
    println!("\n{store}: 8 processes beside 1");
    for (what, calls) in [("loads", loads_of as CallsOf), ("saves", saves_of)] {
        let (mut ones, mut eights) = (Vec::new(), Vec::new());
        for _ in 0..pick(3, 1) {
            ones.push(calls_a_second(manager, 1, calls));
            eights.push(calls_a_second(manager, 8, calls));
        }
        let ratio = median(eights.iter().zip(&ones).map(|(eight, one)| eight / one));
        println!("  {what:<24} {:.0} a second, {:.0} a second: {ratio:.2} x", median(ones), median(eights));
    }
}

/// Forks processes that call for half a second, each of them on a session of its own.
fn calls_a_second(manager: &SessionManager, processes: usize, calls: CallsOf) -> f64 {
    let time = Duration::from_millis(pick(500, 50) as u64);
    let said = children_of(manager, processes, |_| {
        let header = create(manager, &small_values(), None);
        load(manager, &header);
        let mut call = calls(manager, &header);
        let (mut count, start) = (0, Instant::now());
        while start.elapsed() < time {
            call();
            count += 1;
        }
        count.to_string()
    });
    said.iter().map(|count| count.parse::<f64>().unwrap()).sum::<f64>() / time.as_secs_f64()
}

fn loads_of<'a>(manager: &'a SessionManager, header: &'a str) -> Call<'a> {
    Box::new(|| load(manager, header))
}

fn saves_of<'a>(manager: &'a SessionManager, header: &'a str) -> Call<'a> {
    let mut session = manager.load(header).unwrap();
    let mut number = 0;
    Box::new(move || {
        number += 1;
        save(&mut session, number);
    })
}
