//! The keys of a namespace's generation. When the generation is removed, all sessions of the namespace have ended: see
//! prelude.lua.

use crate::store::redis::deployment::Deployment;
use crate::store::redis::deployment::cluster::slots::{SLOTS, slot_of};

/// The keys under which generations are kept.
pub(crate) enum Generations {
    /// `<namespace>:generation`.
    One,
    /// In a cluster, `<namespace>:generation:{<text>}`. Every slot has a generation of its own, because all keys of a
    /// script have to be in one slot. These are the texts for all slots, in order.
    OfSlots(Vec<u32>),
}

impl Generations {
    /// Makes the keys of a deployment. This is done with the store, not on first use: first use would need a lock, and
    /// a fork could copy the lock while it is held.
    pub(crate) fn of(deployment: &Deployment) -> Generations {
        if deployment.has_slots() { Generations::of_slots() } else { Generations::One }
    }

    fn of_slots() -> Generations {
        let (mut texts, mut missing) = (vec![None; usize::from(SLOTS)], SLOTS);
        for text in 0.. {
            let of_slot = &mut texts[usize::from(slot_of(text.to_string().as_bytes()))];
            if of_slot.is_none() {
                (*of_slot, missing) = (Some(text), missing - 1);
            }
            if missing == 0 {
                break;
            }
        }
        Generations::OfSlots(texts.into_iter().flatten().collect())
    }

    /// Returns the key of the generation to which the data under `key` belongs.
    pub(crate) fn key(&self, namespace: &str, key: &str) -> String {
        match self {
            Generations::One => format!("{namespace}:generation"),
            Generations::OfSlots(texts) => key_of(namespace, texts[usize::from(slot_of(key.as_bytes()))]),
        }
    }

    /// Returns the keys of all generations of a namespace. In a cluster, they are in the order of their slots.
    pub(crate) fn keys(&self, namespace: &str) -> Vec<String> {
        match self {
            Generations::One => vec![self.key(namespace, "")],
            Generations::OfSlots(texts) => texts.iter().map(|text| key_of(namespace, *text)).collect(),
        }
    }
}

fn key_of(namespace: &str, text: u32) -> String {
    format!("{namespace}:generation:{{{text}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_key_of_its_own() {
        let generations = Generations::of_slots();
        for (slot, key) in generations.keys("shop").iter().enumerate() {
            assert_eq!(usize::from(slot_of(key.as_bytes())), slot);
            assert_eq!(generations.key("shop", key), *key);
        }
    }
}
