//! Request methods.
//!
//! Owns: the list (llhttp's, in llhttp's order, because Node refuses everything else) and what each
//! method promises. Must never know: which methods an app routes.

macro_rules! methods {
    ($($variant:ident = $text:literal,)+) => {
        /// A request method that Node's parser accepts.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "each is the method of its name")]
        pub enum Method {
            $($variant,)+
        }

        impl Method {
            /// Every method, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The method of a request line. Methods are case-sensitive (RFC 9110 section 9.1).
            #[inline]
            pub fn from_bytes(text: &[u8]) -> Option<Self> {
                match text {
                    b"GET" => Some(Self::Get),
                    b"POST" => Some(Self::Post),
                    _ => Self::from_rare_bytes(text),
                }
            }

            fn from_rare_bytes(text: &[u8]) -> Option<Self> {
                $(if text == $text.as_bytes() { return Some(Self::$variant); })+
                None
            }

            /// As on the wire.
            #[inline]
            pub const fn as_str(self) -> &'static str {
                const TEXT: &[&str] = &[$($text,)+];
                TEXT[self as usize]
            }
        }
    };
}

methods! {
    Delete = "DELETE",
    Get = "GET",
    Head = "HEAD",
    Post = "POST",
    Put = "PUT",
    Connect = "CONNECT",
    Options = "OPTIONS",
    Trace = "TRACE",
    Copy = "COPY",
    Lock = "LOCK",
    Mkcol = "MKCOL",
    Move = "MOVE",
    Propfind = "PROPFIND",
    Proppatch = "PROPPATCH",
    Search = "SEARCH",
    Unlock = "UNLOCK",
    Bind = "BIND",
    Rebind = "REBIND",
    Unbind = "UNBIND",
    Acl = "ACL",
    Report = "REPORT",
    Mkactivity = "MKACTIVITY",
    Checkout = "CHECKOUT",
    Merge = "MERGE",
    MSearch = "M-SEARCH",
    Notify = "NOTIFY",
    Subscribe = "SUBSCRIBE",
    Unsubscribe = "UNSUBSCRIBE",
    Patch = "PATCH",
    Purge = "PURGE",
    Mkcalendar = "MKCALENDAR",
    Link = "LINK",
    Unlink = "UNLINK",
    Source = "SOURCE",
    Query = "QUERY",
}

impl Method {
    /// The number in the worker protocol; 0 is never used.
    #[inline]
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The method of a worker protocol number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }

    /// Asks for nothing to change (RFC 9110 section 9.2.1, QUERY by its draft).
    pub const fn is_safe(self) -> bool {
        matches!(
            self,
            Self::Get
                | Self::Head
                | Self::Options
                | Self::Trace
                | Self::Propfind
                | Self::Search
                | Self::Report
                | Self::Query
        )
    }

    /// Twice is the same as once (RFC 9110 section 9.2.2). For the WebDAV methods as registered
    /// with IANA, except LOCK and what is registered without being retried by anyone.
    pub const fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::Method;

    #[test]
    fn every_method_is_found_by_its_text_and_number() {
        for (at, &method) in Method::ALL.iter().enumerate() {
            assert_eq!(Method::from_bytes(method.as_str().as_bytes()), Some(method));
            assert_eq!(Method::from_number(method.number()), Some(method));
            assert_eq!(usize::from(method.number()), at + 1);
        }
        assert_eq!(Method::from_number(0), None);
        assert_eq!(Method::from_number(Method::ALL.len() as u8 + 1), None);
    }

    #[test]
    fn methods_are_case_sensitive() {
        for text in ["get", "Get", "GETS", "GE", "", "PRI", "M_SEARCH"] {
            assert_eq!(Method::from_bytes(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn safe_methods_are_idempotent() {
        assert!(Method::ALL.iter().all(|method| !method.is_safe() || method.is_idempotent()));
        assert!(!Method::Post.is_idempotent() && !Method::Patch.is_idempotent());
        assert!(Method::Delete.is_idempotent() && !Method::Delete.is_safe());
    }
}
