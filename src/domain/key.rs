//! The hash of a key that Kafka's producers use to select a partition. Pure.

/// The hash of a record's key, without its sign: the partition is its remainder by the number of partitions. Java
/// producers compute the same (`Utils.murmur2` of Apache Kafka).
///
/// ```
/// use firstcome::domain::key_hash;
///
/// let (hash, partitions) = (key_hash("abc"), 3);
/// assert_eq!(hash, 479_470_107);
/// assert_eq!(hash % partitions, 0);
/// ```
#[must_use]
pub fn key_hash(key: &str) -> u32 {
    murmur2(key.as_bytes()) & 0x7fff_ffff
}

fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    for (nth, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * nth);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own test.
    #[test]
    fn the_hash_is_that_of_java_producers() {
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ];
        for (text, hash) in known {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    /// `Utils.toPositive` of Apache Kafka: the sign bit is cleared, the number is not negated.
    #[test]
    fn a_negative_hash_loses_only_its_sign() {
        for (text, hash) in [("21", 1_173_551_340), ("foobar", 1_357_151_166)] {
            assert_eq!(key_hash(text), hash, "{text}");
        }
    }
}
