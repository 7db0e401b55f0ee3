//! The processor time of other processes.

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use std::time::Duration;

/// Returns how long all threads of these processes have used a processor, in the kernel and outside.
pub fn time(processes: &[Pid]) -> Result<Duration, String> {
    let time = |process: &Pid| clock_getcpuclockid(*process).and_then(ClockId::now).map(Duration::from);
    processes.iter().map(time).sum::<Result<_, _>>().map_err(|error| format!("a process has ended: {error}"))
}
