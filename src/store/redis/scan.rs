//! Looks at the sessions of a namespace, a few at a time, and finds a session by its public id.
//!
//! Both use `SCAN` in small steps, so that other clients do not wait. `SCAN` gives every key that is there from its
//! beginning to its end, at one node. So if another node takes the place of a node, or if slots move, a scan begins
//! anew, and gives some sessions twice.

use crate::error::{StoreError, StoreErrorKind};
use crate::id::PublicId;
use crate::store::maintenance::{Located, Page, Position, Scan};
use crate::store::redis::deployment::Layout;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::operation::Operation;
use crate::store::redis::scan_step::{glob, scan_step};
use crate::store::redis::wire::failure::Failure;
use crate::store::stored_record::StoredRecord;
use std::cell::Cell;

/// How many keys Redis looks at in the first `SCAN` of a page. The records of a page are read in one go, and other
/// clients wait for as long as that takes.
const PAGE: usize = 5;
/// While `SCAN` finds no session, it looks at twice as many keys the next time, up to this number.
const LARGEST: usize = 80;
/// How many keys Redis looks at in one `SCAN` for a single session.
const STEP: usize = 1000;
/// A page without sessions ends after this number of `SCAN`s.
const MOST_EMPTY: usize = 20;

/// A place in a scan.
#[derive(Clone, Copy)]
struct Place {
    /// The nodes on which the scan goes on: see [`Layout::fingerprint`].
    fingerprint: u64,
    /// The number of the node, in the order of the layout.
    node: usize,
    /// The cursor of `SCAN` at this node.
    cursor: u64,
}

impl Operation<'_> {
    /// Returns some live sessions of a namespace.
    pub(crate) fn scan(&self, scan: &Scan<'_>) -> Result<Page, StoreError> {
        let client = self.client()?;
        let layout = client.layout(self.call.deadline)?;
        let place = match scan.from {
            Some(position) => Place::read(position)?.on(&layout),
            None => Place::first(&layout),
        };
        let Some(node) = layout.nodes.get(place.node) else { return Ok(Page { sessions: Vec::new(), next: None }) };
        let (pattern, key) = (format!("{}:*", glob(scan.namespace)), format!("{{{}}}", node.hash_tag));
        let proof = Cell::new(Proof::Reads);
        let (cursor, found) = client.request(key.as_bytes(), &proof, self.call.deadline, |connection, until| {
            let (mut cursor, mut count, mut places) = (place.cursor, PAGE, Vec::new());
            for _ in 0..MOST_EMPTY {
                let keys;
                (cursor, keys) = scan_step(connection, until, cursor, &pattern, count)?;
                places.extend(keys.iter().filter_map(|key| Located::of_name(scan.namespace, key)));
                if cursor == 0 || !places.is_empty() {
                    break;
                }
                count = LARGEST.min(2 * count);
            }
            Ok((cursor, self.read_whole(connection, until, scan.namespace, &places, scan.with_values)?))
        })?;
        let mut sessions = found.live;
        sessions.extend(self.read_elsewhere(scan.namespace, found.elsewhere, scan.with_values)?);
        let next = if client.has_changed(&layout) {
            // This page may be of the new node, and its cursor of the old one.
            Some(Place::first(&client.layout(self.call.deadline)?))
        } else {
            Some(place.after(cursor)).filter(|place| place.node < layout.nodes.len())
        };
        Ok(Page { sessions, next: next.map(Place::position) })
    }

    /// Reads the live sessions at these places. A single server gives all of them in one round trip.
    pub(crate) fn read(
        &self,
        namespace: &str,
        places: &[Located],
        with_values: bool,
    ) -> Result<Vec<(Located, StoredRecord)>, StoreError> {
        let client = self.client()?;
        let layout = client.layout(self.call.deadline)?;
        let ([node], false) = (&layout.nodes[..], places.is_empty()) else {
            return self.read_elsewhere(namespace, places.to_vec(), with_values);
        };
        let (proof, key) = (Cell::new(Proof::Reads), format!("{{{}}}", node.hash_tag));
        let found = client.request(key.as_bytes(), &proof, self.call.deadline, |connection, until| {
            self.read_whole(connection, until, namespace, places, with_values)
        })?;
        let mut sessions = found.live;
        sessions.extend(self.read_elsewhere(namespace, found.elsewhere, with_values)?);
        Ok(sessions)
    }

    /// Finds a live session of a namespace by its public id. A session in a group is looked for among all keys.
    pub(crate) fn find(&self, namespace: &str, id: PublicId) -> Result<Option<Located>, StoreError> {
        let alone = Located { id, tag: None };
        if !self.read_elsewhere(namespace, vec![alone], false)?.is_empty() {
            return Ok(Some(alone));
        }
        let client = self.client()?;
        let pattern = format!("{}:{{*}}:{id}", glob(namespace));
        for node in client.layout(self.call.deadline)?.nodes {
            let (proof, key) = (Cell::new(Proof::Reads), format!("{{{}}}", node.hash_tag));
            let places = client.request(key.as_bytes(), &proof, self.call.deadline, |connection, until| {
                let (mut cursor, mut places) = (0, Vec::new());
                loop {
                    let keys;
                    (cursor, keys) = scan_step(connection, until, cursor, &pattern, STEP)?;
                    places.extend(keys.iter().filter_map(|key| Located::of_name(namespace, key)));
                    if cursor == 0 || !places.is_empty() {
                        return Ok::<_, Failure>(places);
                    }
                }
            })?;
            if let Some((at, _)) = self.read_elsewhere(namespace, places, false)?.pop() {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

impl Place {
    fn first(layout: &Layout) -> Place {
        Place { fingerprint: layout.fingerprint, node: 0, cursor: 0 }
    }

    fn read(Position(text): &Position) -> Result<Place, StoreError> {
        let mut numbers = text.split(' ').map(str::parse::<u64>);
        let place = match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(fingerprint)), Some(Ok(node)), Some(Ok(cursor)), None) => {
                usize::try_from(node).ok().map(|node| Place { fingerprint, node, cursor })
            }
            _ => None,
        };
        let not_ours = || StoreError::new(StoreErrorKind::Backend, "the position of the scan is not of this store");
        place.ok_or_else(not_ours)
    }

    fn position(self) -> Position {
        Position(format!("{} {} {}", self.fingerprint, self.node, self.cursor))
    }

    /// Returns this place, or the beginning if other nodes keep the sessions now.
    fn on(self, layout: &Layout) -> Place {
        if self.fingerprint == layout.fingerprint { self } else { Place::first(layout) }
    }

    /// Returns the place after a page that ended with this cursor.
    fn after(self, cursor: u64) -> Place {
        Place { node: self.node + usize::from(cursor == 0), cursor, ..self }
    }
}
