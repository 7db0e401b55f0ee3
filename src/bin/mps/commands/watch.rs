//! `mps watch`.

mod live_count;
mod look;
mod table;

use crate::arguments::Watch;
use crate::failure::Failure;
use crate::interrupt;
use crate::opened::Opened;
use crate::output::Output;
use live_count::LiveCount;
use look::Look;
use std::time::Instant;
use table::Size;

pub(crate) fn run(opened: &Opened, watch: &Watch, output: &mut Output) -> Result<(), Failure> {
    let (mut count, mut before, mut looks) = (LiveCount::default(), None, 0);
    while !interrupt::is_asked_to_end() && watch.times.is_none_or(|times| looks < times) {
        if looks > 0 {
            interrupt::sleep_until(next_look(before.as_ref(), watch));
            if interrupt::is_asked_to_end() {
                break;
            }
        }
        let look = Look::take(opened, &mut count, watch.every)?;
        if output.is_for_eyes() {
            let size = Size::of_terminal();
            output.text(&table::table(&look, before.as_ref(), size))?;
        } else {
            output.print(|| look.json(before.as_ref()), || look.line(before.as_ref()))?;
        }
        output.flush()?;
        (before, looks) = (Some(look), looks + 1);
    }
    Ok(())
}

fn next_look(before: Option<&Look>, watch: &Watch) -> Instant {
    before.map_or_else(Instant::now, |look| look.begun + watch.every)
}
