//! One round: forks the workers, and kills them, their connections and their server.

use super::board::Board;
use super::history::{Entry, Recorder};
use super::random::Random;
use super::store::Place;
use super::worker::Worker;
use crate::support::fork::{Child, child};
use multi_process_session::SessionManager;
use std::path::Path;
use std::time::{Duration, Instant};

const PROCESSES: u64 = 8;
const THREADS: u64 = 4;
const SLOTS: u64 = 240;
/// The number of the metronome's file of the history. No thread has this number.
const METRONOME: u32 = 2_000_000;
/// If a process sleeps longer than it wanted by this time, in nanoseconds, the machine stood still.
const STALL: u64 = 300_000_000;

pub struct Round<'a> {
    /// The workers use them by turns. They differ in how often a load refreshes a session.
    pub managers: &'a [SessionManager],
    pub folder: &'a Path,
    pub epoch: Instant,
    pub time: Duration,
    pub seed: u64,
    pub kill_server: bool,
}

/// What was killed, stopped or locked.
#[derive(Default)]
pub struct Harm {
    pub workers: u64,
    pub connections: u64,
    pub locks: u64,
    pub servers: u64,
    pub silences: u64,
}

impl Round<'_> {
    pub fn run(&self, place: &mut Place) -> Harm {
        let board = Board::new(self.folder, SLOTS);
        let until = Instant::now() + self.time;
        let mut random = Random::new(&[self.seed, u64::MAX]);
        let mut harm = Harm::default();
        let mut numbers = 0..;
        let is_sqlite = place.is_sqlite();
        let mut worker = || {
            let number = numbers.next().expect("there is no end");
            self.fork(is_sqlite, || self.work(&board, number, until))
        };
        let mut workers: Vec<Child> = (0..PROCESSES).map(|_| worker()).collect();
        let locker = place.is_sqlite().then(|| self.fork(true, || hold_locks(place, self.seed, until)));
        let metronome = self.fork(is_sqlite, || self.watch_the_machine());
        let mut server_is_due = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(random.between(20, 300)));
            // The last workers get the time to end by themselves.
            if random.one_in(2) && until > Instant::now() + Duration::from_secs(2) {
                let victim = workers.swap_remove(random.below(PROCESSES) as usize);
                victim.kill();
                harm.workers += 1;
                workers.push(worker());
            } else {
                harm.connections += place.kill_connections();
            }
            if self.kill_server && Instant::now() > server_is_due {
                // By turns, so that a short round has some of both.
                if harm.servers <= harm.silences {
                    place.kill_server(Duration::from_millis(random.below(1000)));
                    harm.servers += 1;
                } else {
                    place.stop_server(Duration::from_millis(random.between(100, 3000)));
                    harm.silences += 1;
                }
                server_is_due = Instant::now() + Duration::from_millis(random.between(500, 2500));
            }
        }
        for worker in workers {
            worker.join();
        }
        metronome.kill();
        harm.locks = locker.map_or(0, |locker| locker.join().parse().expect("a number"));
        harm
    }

    /// Forks a child of a process that has used the manager. With Redis no guard is needed, because the parent makes no
    /// calls at the moment of the fork. A SQLite file has to be closed: `guarded`.
    fn fork(&self, guarded: bool, body: impl FnOnce() -> String) -> Child {
        let use_it = |manager: &SessionManager| {
            let mut session = manager.load(None).expect("nothing is asked");
            // The server may be down.
            let _ = session.set("parent", &1).and_then(|()| session.save());
            let _ = session.destroy();
        };
        std::thread::scope(|scope| {
            let managers = self.managers.iter().cycle().take(THREADS as usize);
            let threads: Vec<_> = managers.map(|manager| scope.spawn(move || use_it(manager))).collect();
            // A fork may copy a lock that a thread holds while it ends, so they are waited for, and not only their
            // work.
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        });
        let guards = guarded.then(|| self.managers.iter().map(SessionManager::before_fork).collect::<Vec<_>>());
        let forked = child(body);
        drop(guards);
        forked
    }

    /// Writes down when the machine stood still, so that the checker does not blame the library. Runs until it is
    /// killed.
    fn watch_the_machine(&self) -> String {
        let mut recorder = Recorder::new(self.folder, METRONOME, self.epoch);
        let mut from = recorder.now();
        loop {
            std::thread::sleep(Duration::from_millis(5));
            let to = recorder.now();
            if to - from > STALL {
                recorder.write(&Entry::Stall { from, to });
            }
            from = to;
        }
    }

    /// What a worker does.
    fn work(&self, board: &Board, number: u64, until: Instant) -> String {
        let folder = self.folder.to_owned();
        let epoch = self.epoch;
        // A worker that is killed later cannot say that one of its threads has panicked.
        std::panic::set_hook(Box::new(move |panic| {
            let mut recorder = Recorder::new(&folder, u32::MAX - number as u32, epoch);
            recorder.write(&Entry::Note { at: recorder.now(), text: format!("a worker panicked: {panic}") });
        }));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let id = number * THREADS + thread;
                let recorder = Recorder::new(self.folder, u32::try_from(id + 1).expect("not that many"), self.epoch);
                let manager = &self.managers[id as usize % self.managers.len()];
                let random = Random::new(&[self.seed, id]);
                scope.spawn(move || Worker::new(manager, board, recorder, random).run(until));
            }
        });
        String::new()
    }
}

/// Locks a SQLite file now and then, mostly for a short time. Returns how often.
fn hold_locks(place: &Place, seed: u64, until: Instant) -> String {
    let mut random = Random::new(&[seed, u64::MAX - 1]);
    let mut held = 0;
    while Instant::now() + Duration::from_secs(4) < until {
        let longest = if random.one_in(30) { 3000 } else { 100 };
        place.hold_lock(Duration::from_millis(random.below(longest)));
        std::thread::sleep(Duration::from_millis(random.between(50, 500)));
        held += 1;
    }
    held.to_string()
}
