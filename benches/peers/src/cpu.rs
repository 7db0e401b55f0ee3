//! The processor time of other processes.

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use std::time::Duration;

/// Gives how long all threads of these processes have used a processor, in the kernel and outside.
pub fn time(processes: &[Pid]) -> Duration {
    let time = |process: &Pid| clock_getcpuclockid(*process).and_then(ClockId::now).expect("the process runs");
    processes.iter().map(time).map(Duration::from).sum()
}
