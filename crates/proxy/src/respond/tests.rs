//! Every own answer is one valid message of the right length.

use hostler_driver::PoolSizes;
use hostler_protocol::http1::{
    BodyFraming, ChunkError, FieldName, HeadLimits, Parsed, RequestError, ResponseHead,
};

use super::*;

fn all() -> Vec<OwnAnswer> {
    let mut all = vec![
        OwnAnswer::BodyTooLarge,
        OwnAnswer::ClientTimeout,
        OwnAnswer::WorkerLost,
        OwnAnswer::WorkerBroken,
        OwnAnswer::WorkerTimeout,
        OwnAnswer::RequestTimeout,
        OwnAnswer::WorkerHangs,
        OwnAnswer::Overload,
        OwnAnswer::NoWorker,
        OwnAnswer::Draining,
    ];
    let refusals = RequestError::ALL.iter();
    all.extend(
        refusals
            .map(|error| OwnAnswer::BadRequest { status: error.status(), why: error.explain() }),
    );
    all.push(OwnAnswer::BadRequest { status: 400, why: ChunkError::TrailersTooLong.explain() });
    all
}

fn facts() -> AnswerFacts<'static> {
    AnswerFacts {
        request_id: &[b'i'; crate::request_id::REQUEST_ID_BYTES_MAX],
        head_only: false,
        close: true,
        announce_keep_alive: false,
        // The longest name of a month and of a day is as long as any other.
        unix_ms: 253_402_300_799_000,
        random: 3,
    }
}

fn write(answer: OwnAnswer, facts: &AnswerFacts<'_>) -> Vec<u8> {
    let pool = Pool::new(&PoolSizes::default()).expect("memory");
    let mut out = Outbox::default();
    write_answer(&mut out, &pool, answer, facts);
    let parts = out.take().expect("something");
    parts.iter().flat_map(|part| part.as_slice().to_vec()).collect()
}

#[test]
fn every_answer_is_valid_http_of_the_right_length() {
    for answer in all() {
        let bytes = write(answer, &facts());
        let mut head = ResponseHead::new();
        let parsed = head.parse(&bytes, false, &HeadLimits::RESPONSE);
        assert_eq!(parsed, Ok(Parsed::Complete), "{answer:?}");
        assert_eq!(head.status, answer.status());
        assert_ne!(head.reason.of(&bytes), b"Error", "{answer:?} has a reason of its own");
        let body = bytes.len() - head.head_len as usize;
        assert_eq!(head.framing, BodyFraming::Length(body as u64), "{answer:?}");
        assert!(bytes.ends_with(b"\n") && body > 10, "{answer:?}");
        assert!(!head.keep_alive);
        for name in [FieldName::Date, FieldName::ContentType, FieldName::CacheControl] {
            let count = head.fields().iter().filter(|field| field.known == name).count();
            assert_eq!(count, 1, "{name:?} of {answer:?}");
        }
        let retry = head.fields().iter().any(|field| field.name.of(&bytes) == b"Retry-After");
        assert_eq!(retry, answer.status() == 503, "{answer:?}");
    }
}

#[test]
fn an_answer_to_head_has_the_length_but_no_body() {
    for answer in all() {
        let whole = write(answer, &facts());
        let bytes = write(answer, &AnswerFacts { head_only: true, ..facts() });
        assert!(bytes.ends_with(b"\r\n\r\n") && whole.starts_with(&bytes), "{answer:?}");
    }
}

#[test]
fn what_is_said_about_the_connection() {
    let text = |close, announce_keep_alive| {
        let facts = AnswerFacts { close, announce_keep_alive, request_id: b"", ..facts() };
        String::from_utf8(write(OwnAnswer::Overload, &facts)).expect("ASCII")
    };
    assert!(text(true, true).contains("\r\nConnection: close\r\n"));
    assert!(text(false, true).contains("\r\nConnection: keep-alive\r\n"));
    assert!(!text(false, false).contains("Connection"));
    assert!(!text(false, false).contains("X-Request-Id"));
}

#[test]
fn retries_are_spread() {
    let after = |random| {
        let facts = AnswerFacts { random, ..facts() };
        let text = String::from_utf8(write(OwnAnswer::NoWorker, &facts)).expect("ASCII");
        let line = text.lines().find_map(|line| line.strip_prefix("Retry-After: "));
        line.expect("there").parse::<u64>().expect("a number")
    };
    let seconds: std::collections::BTreeSet<u64> = (0..64).map(after).collect();
    assert_eq!(seconds, (1..=4).collect());
    assert!((1..=4).contains(&after(u64::MAX)));
}
