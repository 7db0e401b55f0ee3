//! A SQLite file and its log with damaged bytes. A call may fail only with an error, and if a logout gives Ok, the
//! session has ended.
//!
//! SQLite keeps no checksums, so a flipped bit can move a value to another session. So this target does not check to
//! which session the values belong.

use crate::SHORT;
use crate::calls::{CALLS, clear_group, log_out};
use crate::input::Input;
use crate::sqlite_template::Template;
use std::sync::OnceLock;

const PAGE: usize = 4096;

pub fn run(data: &[u8]) {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    let template = TEMPLATE.get_or_init(Template::new);
    let mut input = Input(data);
    let (calls, cookie, logs_out) =
        ([input.pick(&CALLS), input.pick(&CALLS)], input.pick(&template.cookies), input.bit());
    let (mut database, mut log) = match input.byte() % 3 {
        0 => template.in_use.clone(),
        _ => (template.whole.clone(), Vec::new()),
    };
    while !input.is_used_up() {
        let is_log = input.bit() && !log.is_empty();
        damage(&mut input, if is_log { &mut log } else { &mut database });
    }
    template.write(&database, &log);
    let manager = template.manager(SHORT);
    for call in calls {
        let _ = call(&manager, cookie);
    }
    let _ = if logs_out { log_out(&manager, cookie) } else { clear_group(&manager) };
}

fn damage(input: &mut Input<'_>, file: &mut Vec<u8>) {
    let pages = file.len().div_ceil(PAGE).max(1);
    let (kind, page) = (input.below(8), input.below(pages) * PAGE);
    let at = match kind {
        // The header of the file, of a page, and where the cells of a page are.
        0 => input.below(100),
        1 => page + input.below(12),
        2 => page + 8 + input.below(80),
        _ => page + input.below(PAGE),
    };
    match kind {
        6 => file.truncate(at.max(512)),
        7 => {
            let from = input.below(pages) * PAGE;
            let copy = file.get(from..from + PAGE).map(<[u8]>::to_vec);
            if let (Some(copy), Some(place)) = (copy, file.get_mut(page..page + PAGE)) {
                place.copy_from_slice(&copy);
            }
        }
        _ => {
            let length = 1 + input.below(4);
            for (place, byte) in file.iter_mut().skip(at).zip(input.bytes(length)) {
                *place = *byte;
            }
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..CALLS.len() as u8)
        .flat_map(|call| [vec![call, 1, 0, 0, 0, 0, 3], vec![0, call, 13, 1, 1, 1, 1, 1]])
        .collect();
    // In one of 50 runs, this damages an index so that a logout removes another row.
    seeds.push(vec![
        0x00, 0x0a, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x01, 0xf2, 0xe5, 0xfe, 0x04, 0xd9, 0x13, 0x97, 0x32, 0x9b, 0x8b,
        0xeb, 0x3f, 0x17, 0x79, 0x3f, 0x51, 0x38, 0xf9, 0x7b, 0xa1, 0x5d, 0xc6, 0x4d, 0x31, 0xdc, 0x95, 0x8c, 0x06,
        0x28, 0x90, 0x94, 0xf3, 0x9b, 0xde, 0x28, 0x5f, 0xa4, 0x3f, 0x51, 0x38, 0xf9, 0x7b, 0xa1, 0x5d,
    ]);
    seeds
}
