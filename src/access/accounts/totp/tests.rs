use chrono::DateTime;

use super::*;

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// The secret of the test vectors in the RFC.
fn secret() -> TotpSecret {
    let secret = Secret::from(b"12345678901234567890".to_vec());
    TotpSecret::stored(secret.to_base32().into())
}

/// RFC 6238, appendix B, for SHA-1: the last six of their eight digits.
#[test]
fn codes_are_those_of_rfc_6238() {
    for (seconds, code) in [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ] {
        let step = secret().step_of(code, at(seconds)).unwrap();
        assert_eq!(step, Some(seconds / 30), "{code}");
    }
}

/// RFC 4226, appendix D: codes of the first ten steps.
#[test]
fn codes_are_those_of_rfc_4226() {
    let codes = [
        "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
        "520489",
    ];
    for (step, code) in (0..).zip(codes) {
        assert_eq!(secret().step_of(code, at(step * 30)).unwrap(), Some(step));
    }
}

#[test]
fn a_code_is_accepted_one_step_early_and_one_step_late() {
    let (code, step) = ("081804", 1_111_111_109 / 30);
    let begin = step * 30;
    for (offset, is_accepted) in [
        (-31, false),
        (-30, true),
        (-1, true),
        (0, true),
        (29, true),
        (30, true),
        (59, true),
        (60, false),
    ] {
        let found = secret().step_of(code, at(begin + offset)).unwrap();
        assert_eq!(found, is_accepted.then_some(step), "{offset}");
    }
}

#[test]
fn only_six_digits_are_a_code() {
    let now = at(1_111_111_109);
    for wrong in [
        "",
        "81804",
        "0818040",
        "08180a",
        "+81804",
        " 81804",
        "081805",
        "٠٨١٨٠٤",
    ] {
        assert_eq!(secret().step_of(wrong, now).unwrap(), None, "{wrong}");
    }
}

#[test]
fn the_authenticator_gets_the_stored_secret() {
    let secret = TotpSecret::generate();
    let base32 = secret.base32().expose_secret().to_owned();
    assert_eq!(base32.len(), 32);
    assert_ne!(TotpSecret::generate().base32().expose_secret(), base32);
    let uri = secret.uri("ada+shop@example.org").unwrap();
    let expected = format!(
        "otpauth://totp/firstcome:ada%2Bshop%40example.org?secret={base32}&issuer=firstcome"
    );
    assert_eq!(uri.expose_secret(), expected);
    assert_eq!(format!("{secret:?}"), "TotpSecret");
    let broken = TotpSecret::stored("no Base32!".to_owned().into());
    assert!(matches!(
        broken.step_of("081804", at(0)),
        Err(AccountError::Secret)
    ));
}

#[test]
fn recovery_codes_are_accepted_in_any_notation() {
    let codes = RecoveryCodes::generate();
    let digests = codes.digests();
    let shown = codes.reveal();
    assert_eq!((shown.len(), digests.len()), (10, 10));
    let first = shown[0].expose_secret();
    assert_eq!(first.len(), 19);
    for typed in [
        first.to_owned(),
        first.to_lowercase(),
        first.replace('-', ""),
        first.replace('-', " "),
    ] {
        assert_eq!(
            RecoveryCodes::digest(&typed).as_ref(),
            Some(&digests[0]),
            "{typed}"
        );
    }
    for wrong in ["", "123456", &first[1..], &format!("{first}A")] {
        assert_eq!(RecoveryCodes::digest(wrong), None, "{wrong}");
    }
}
