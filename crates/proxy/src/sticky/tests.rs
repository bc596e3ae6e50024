//! What requests and answers say about their worker.

use hostler_protocol::http1::{HeadLimits, Parsed, ResponseHead};

use super::*;

fn sticky(cookie: Option<&str>, sessions: bool, key: [u64; 2]) -> Sticky {
    let wanted = Wanted { cookie: cookie.map(str::to_owned), sessions, key };
    Sticky::new(&wanted, 8)
}

fn read(sticky: &Sticky, target: &str, fields: &str) -> Route {
    let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut head = RequestHead::new();
    assert_eq!(head.parse(text.as_bytes(), &HeadLimits::default()), Ok(Parsed::Complete));
    sticky.read(text.as_bytes(), &head)
}

#[test]
fn tokens_are_of_one_instance_and_say_nothing() {
    let (one, other) = (sticky(None, false, [1, 2]), sticky(None, false, [1, 3]));
    let tokens: Vec<_> = (0..512).map(|slot| one.token(slot)).collect();
    let mut different = tokens.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 512);
    assert!((0..512).all(|slot| other.token(slot) != tokens[slot as usize]));
    assert_eq!(sticky(None, false, [1, 2]).token(7), tokens[7], "a proxy that is started again");
}

#[test]
fn a_cookie_that_was_set_is_read() {
    let sticky = sticky(Some("way"), false, [1, 2]);
    for slot in 0..64 {
        let token = sticky.token(slot);
        let cookie = sticky.set_cookie(token).expect("there are cookies");
        let text = String::from_utf8(cookie.digits().to_vec()).expect("digits");
        for field in [
            format!("Cookie: way={text}\r\n"),
            format!("cookie: a=b; way={text};c=d\r\n"),
            format!("Cookie: a=b\r\nCookie:  x=y;  way={text} \r\n"),
            format!("Cookie: way=old; way={text}\r\n"),
        ] {
            assert_eq!(read(&sticky, "/", &field).cookie, Some(token), "{field}");
        }
        for field in [
            format!("Cookie: way2={text}\r\n"),
            format!("Cookie: away={text}\r\n"),
            format!("Cookie: way={}\r\n", &text[1..]),
            format!("Cookie: way=0{text}\r\n"),
            format!("Cookie: way=\"{text}\"\r\n"),
            format!("Cookies: way={text}\r\n"),
            "Cookie: way=0000000000000000\r\n".to_owned(),
            "Cookie: way=+000000000000001\r\n".to_owned(),
            "Cookie: way=\r\n".to_owned(),
        ] {
            assert_eq!(read(&sticky, "/", &field), Route::default(), "{field}");
        }
    }
}

#[test]
fn sessions_are_found_in_targets() {
    let sticky = sticky(None, true, [1, 2]);
    let session = |target: &str| read(&sticky, target, "").session;
    let known = session::id(b"lv_VI97HAXpY6yYWAAAB", sticky.hasher());
    for target in [
        "/socket.io/?EIO=4&transport=polling&t=N8hyd7H&sid=lv_VI97HAXpY6yYWAAAB",
        "/socket.io/?sid=lv_VI97HAXpY6yYWAAAB&EIO=4&transport=websocket",
        "/my/path?EIO=3&sid=lv_VI97HAXpY6yYWAAAB&transport=polling&j=0",
        "/?EIO=4&sid=lv%5fVI97HAXpY6yYWAAAB&sid=other",
    ] {
        assert_eq!(session(target), Some(known), "{target}");
        assert!(!read(&sticky, target, "").handshake);
    }
    for target in [
        "/socket.io/?EIO=4&transport=polling",
        "/socket.io/?EIO=4&transport=polling&sid=",
        "/socket.io/?transport=polling&EIO=4&t=abc",
    ] {
        let expected = Route { handshake: true, ..Route::default() };
        assert_eq!(read(&sticky, target, ""), expected, "{target}");
    }
    for target in ["/", "/?sid=lv_VI97HAXpY6yYWAAAB", "/?EIO", "/?EIO=4&transport=websocket", "/?"]
    {
        assert_eq!(read(&sticky, target, ""), Route::default(), "{target}");
    }
    let off = super::tests::sticky(Some("way"), false, [1, 2]);
    assert_eq!(read(&off, "/?EIO=4&transport=polling", ""), Route::default());
}

/// However the body is cut.
#[test]
fn sessions_are_found_in_answers() {
    for (body, sid) in [
        (r#"0{"sid":"abc-_9","upgrades":["websocket"],"pingInterval":25000}"#, Some("abc-_9")),
        (r#"96:0{"sid":"abc","upgrades":[]}2:40"#, Some("abc")),
        (r#"___eio[0]("0{\"sid\":\"abc\",\"upgrades\":[]}");"#, Some("abc")),
        (r#"{"code":0,"message":"Transport unknown"}"#, None),
        (r#"0{"sid":""}"#, None),
        ("sid", None),
        ("", None),
    ] {
        for at in 0..body.len() {
            let mut gathered = HandshakeBody::default();
            let (first, second) = body.as_bytes().split_at(at);
            let found = gathered.push(first).is_some() || gathered.push(second).is_some();
            let found = found.then(|| gathered.push(b"").expect("found before").to_vec());
            assert_eq!(found.as_deref(), sid.map(str::as_bytes), "{body} cut at {at}");
        }
    }
    let mut endless = HandshakeBody::default();
    for _ in 0..100 {
        assert_eq!(endless.push(&[b'a'; 50]), None);
    }
    assert!(endless.is_full());
    assert_eq!(endless.push(b"sid\":\"abc\""), None, "nobody writes so much in front of it");
}

#[test]
fn who_learns_a_session_finds_it() {
    let sticky = sticky(None, true, [1, 2]);
    sticky.learn(b"a:b", 7, 0);
    let route = read(&sticky, "/?EIO=4&transport=polling&sid=a%3Ab", "");
    assert_eq!(sticky.worker_of(route.session.expect("named"), 0), Some(7));
    let other = read(&sticky, "/?EIO=4&transport=polling&sid=a:c", "");
    assert_eq!(sticky.worker_of(other.session.expect("named"), 0), None);
}

#[test]
fn answers_for_everybody_get_no_cookie() {
    for (value, shared) in [
        ("public, max-age=60", true),
        ("max-age=60,s-maxage=9", true),
        ("PUBLIC", true),
        ("private", false),
        ("max-age=60", false),
        ("no-store", false),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\nCache-Control: {value}\r\n\r\n");
        let mut head = ResponseHead::new();
        let parsed = head.parse(text.as_bytes(), false, &HeadLimits::RESPONSE);
        assert_eq!(parsed, Ok(Parsed::Complete));
        assert_eq!(is_shared(text.as_bytes(), head.fields()), shared, "{value}");
    }
}
