//! Hash slots: which node of a cluster serves which key (see the Redis cluster specification).

use crate::store::redis::wire::node::Node;
use redis::Value;

/// The number of slots.
pub(crate) const SLOTS: u16 = 16384;

/// Returns the slot of a key. If there is a text between the key's first braces (a hash tag), only this text is hashed.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let inside = &key[open + 1..];
        let length = inside.iter().position(|byte| *byte == b'}').filter(|length| *length > 0)?;
        Some(&inside[..length])
    });
    const XMODEM: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);
    XMODEM.checksum(tag.unwrap_or(key)) % SLOTS
}

/// Which primary serves which slots.
#[derive(Default)]
pub(crate) struct SlotMap {
    /// In the order of the slots.
    ranges: Vec<Range>,
}

/// Slots that follow one another, and the node that serves them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    last: u16,
    first: u16,
    node: Node,
}

impl SlotMap {
    /// Reads the reply to `CLUSTER SLOTS` of the node at `host`.
    pub(crate) fn parse(reply: Value, host: &str) -> Option<SlotMap> {
        let mut ranges = Vec::new();
        for range in array(reply)? {
            let mut parts = array(range)?.into_iter();
            let (first, last) = (slot(parts.next()?)?, slot(parts.next()?)?);
            if first > last {
                return None;
            }
            let mut node = array(parts.next()?)?.into_iter();
            let name = match node.next()? {
                Value::BulkString(name) => String::from_utf8(name).ok()?,
                Value::Nil => String::new(),
                _ => return None,
            };
            let Value::Int(port) = node.next()? else { return None };
            let host = match &*name {
                // The node does not know its own name.
                "" => host.to_owned(),
                // The cluster announces host names, and this node has none configured.
                "?" => node.nth(1).and_then(ip)?,
                _ => name,
            };
            let node = Node::named_by_redis(host, port.try_into().ok()?)?;
            ranges.push(Range { last, first, node });
        }
        ranges.sort();
        Some(SlotMap { ranges })
    }

    /// Returns the node that serves a slot.
    pub(crate) fn node_of(&self, slot: u16) -> Option<&Node> {
        let at = self.ranges.partition_point(|range| range.last < slot);
        self.ranges.get(at).filter(|range| range.first <= slot).map(|range| &range.node)
    }

    /// Returns all primaries, each once.
    pub(crate) fn nodes(&self) -> Vec<&Node> {
        let mut nodes: Vec<&Node> = self.ranges.iter().map(|range| &range.node).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// Returns a number that is another one if the slots are divided in another way.
    pub(crate) fn fingerprint(&self) -> u64 {
        const CRC: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);
        let mut digest = CRC.digest();
        for Range { last, first, node } in &self.ranges {
            digest.update(format!("{first}-{last} {node}\n").as_bytes());
        }
        digest.finalize()
    }

    /// Returns the number of slots that have a node.
    pub(crate) fn slots(&self) -> usize {
        self.ranges.iter().map(|range| usize::from(range.last - range.first) + 1).sum()
    }

    /// Returns whether every slot has a node.
    pub(crate) fn is_complete(&self) -> bool {
        self.slots() == usize::from(SLOTS)
    }
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(parts) => Some(parts),
        _ => None,
    }
}

/// Finds the IP address of a node in the further facts about it at the end of its part of the reply. They are a list in
/// RESP2, and a map in RESP3.
fn ip(about: Value) -> Option<String> {
    let mut parts = match about {
        Value::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
        about => array(about)?,
    }
    .into_iter();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        match (name, value) {
            (Value::BulkString(name), Value::BulkString(ip)) if name == b"ip" => return String::from_utf8(ip).ok(),
            _ => {}
        }
    }
    None
}

fn slot(value: Value) -> Option<u16> {
    match value {
        Value::Int(slot) => u16::try_from(slot).ok().filter(|slot| *slot < SLOTS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The values that `CLUSTER KEYSLOT` gives.
        for (key, slot) in [("123456789", 12739), ("foo", 12182), ("{foo}bar", 12182), ("a{foo}{bar}", 12182)] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        // Empty braces make no tag. Nor does a brace that is not closed.
        for key in ["foo{}{bar}", "foo{bar"] {
            assert_eq!(
                slot_of(key.as_bytes()),
                crc::Crc::<u16>::new(&crc::CRC_16_XMODEM).checksum(key.as_bytes()) % SLOTS
            );
        }
    }

    #[test]
    fn a_reply_is_read_and_nonsense_is_not() {
        let node = |name: &str, port| Value::Array(vec![Value::BulkString(name.into()), Value::Int(port)]);
        let range = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let reply = Value::Array(vec![range(100, 16383, node("b", 2)), range(0, 98, node("", 1))]);
        let map = SlotMap::parse(reply, "a").unwrap();
        assert_eq!(map.node_of(0), Some(&Node::new("a", 1)));
        assert_eq!(map.node_of(98), Some(&Node::new("a", 1)));
        assert_eq!(map.node_of(99), None);
        assert_eq!(map.node_of(100), Some(&Node::new("b", 2)));
        assert_eq!(map.node_of(16383), Some(&Node::new("b", 2)));
        assert_eq!((map.nodes().len(), map.is_complete()), (2, false));
        // The cluster announces host names, and the node has none configured.
        let text = |text: &str| Value::BulkString(text.into());
        let about = [text("hostname"), text(""), text("ip"), text("10.0.0.1")];
        let pairs = about.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        for about in [Value::Array(about.to_vec()), Value::Map(pairs)] {
            let nameless = |about| Value::Array(vec![text("?"), Value::Int(1), text("id"), about]);
            let map = SlotMap::parse(Value::Array(vec![range(0, 16383, nameless(about))]), "a").unwrap();
            assert_eq!(map.node_of(7), Some(&Node::new("10.0.0.1", 1)));
            assert!(SlotMap::parse(Value::Array(vec![range(0, 16383, node("?", 1))]), "a").is_none());
        }
        for nonsense in [
            Value::Int(1),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(0, 16384, node("a", 1))]),
            Value::Array(vec![range(2, 1, node("a", 1))]),
            Value::Array(vec![range(0, 1, node("a", 70_000))]),
            Value::Array(vec![range(0, 1, Value::Nil)]),
            Value::Array(vec![range(0, 1, node("a\nb", 1))]),
        ] {
            assert!(SlotMap::parse(nonsense, "a").is_none());
        }
    }
}
