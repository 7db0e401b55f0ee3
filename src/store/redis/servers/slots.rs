//! Which node of a cluster serves which key (the Redis cluster specification).

use crate::store::redis::wire::node::Node;
use redis::Value;

/// How many slots there are.
pub(crate) const SLOTS: u16 = 16384;

/// The slot of a key: that of what stands between its first braces, if something does.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let inside = &key[open + 1..];
        let length = inside.iter().position(|byte| *byte == b'}').filter(|length| *length > 0)?;
        Some(&inside[..length])
    });
    const XMODEM: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);
    XMODEM.checksum(tag.unwrap_or(key)) % SLOTS
}

/// The primaries of a cluster.
#[derive(Default)]
pub(crate) struct SlotMap {
    /// In order: up to which slot, from which one, and which node.
    ranges: Vec<(u16, u16, Node)>,
}

impl SlotMap {
    /// From the reply to `CLUSTER SLOTS` of the node at `host`; `None` if it is no such reply.
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
                // It does not know its own name.
                "" => host.to_owned(),
                // It is to be called by a name that nobody has given it.
                "?" => node.nth(1).and_then(ip)?,
                _ => name,
            };
            ranges.push((last, first, Node::named(host, port.try_into().ok()?)?));
        }
        ranges.sort();
        Some(SlotMap { ranges })
    }

    pub(crate) fn node_of(&self, slot: u16) -> Option<&Node> {
        let at = self.ranges.partition_point(|(last, ..)| *last < slot);
        self.ranges.get(at).filter(|(_, first, _)| *first <= slot).map(|(.., node)| node)
    }

    /// All primaries, each once.
    pub(crate) fn nodes(&self) -> Vec<&Node> {
        let mut nodes: Vec<&Node> = self.ranges.iter().map(|(.., node)| node).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// Of how many slots it knows the node.
    pub(crate) fn slots(&self) -> usize {
        self.ranges.iter().map(|(last, first, _)| usize::from(last - first) + 1).sum()
    }

    /// Whether every slot has a node.
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

/// The address of a node, from what the reply says of it by name and value (in RESP3 that is a map).
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
        // Empty braces are none, nor is an open one.
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
        // Nodes are to be called by names that nobody has given them.
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
