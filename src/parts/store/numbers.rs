//! Conversion of integers between the code and the columns, which are signed because MySQL and SQLite share no
//! unsigned type. The edge keeps values in range; a value out of range becomes the nearest value in range.

pub(super) fn to_signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn to_unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn narrow(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
