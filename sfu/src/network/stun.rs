//! STUN as ICE uses it: binding requests in, binding responses out (RFC 8489, RFC 8445 §7), on rtc-stun's codec.
//!
//! In: a datagram. Out: a [`BindingRequest`], or the bytes of a response to one. Time: none. Limit: messages above
//! `MESSAGE_BYTES_MAX` are refused before anything is copied, so a message costs at most about 15 kB while it is read.
//!
//! rtc-stun's decoder neither panics nor allocates beyond the datagram, but it leaves to its user what is checked
//! here: that the message fills the datagram, that FINGERPRINT is last, and that what follows MESSAGE-INTEGRITY counts
//! for nothing (RFC 8489 §14.5).

use std::net::SocketAddr;

use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use stun::attributes::{
    ATTR_ERROR_CODE, ATTR_FINGERPRINT, ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_MAPPED_ADDRESS,
    ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256, ATTR_NONCE, ATTR_PRIORITY, ATTR_REALM,
    ATTR_UNKNOWN_ATTRIBUTES, ATTR_USE_CANDIDATE, ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS, AttrType,
    RawAttribute,
};
use stun::error_code::{CODE_ROLE_CONFLICT, CODE_UNKNOWN_ATTRIBUTE};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, MESSAGE_HEADER_SIZE, Message, Setter};
use stun::uattrs::UnknownAttributes;
use stun::xoraddr::XorMappedAddress;

static PROVIDER: AwsLcRsProvider = AwsLcRsProvider::new();

const MESSAGE_BYTES_MAX: usize = 1280; // RFC 8489 §6.1: what fits an IPv6 path of unknown MTU; browsers send about 120
const INTEGRITY_BYTES: usize = 20; // HMAC-SHA1, never truncated (RFC 8489 §14.5)
const UNKNOWN_ATTRIBUTES_MAX: usize = 16; // named in a 420 response; nobody legitimate sends more than one or two

/// Why a STUN message was not taken. Nothing is ever sent in answer to one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// The datagram is longer than any binding request has reason to be.
    #[error("{0} bytes are too long for a binding request")]
    TooLong(usize),
    /// The bytes are no STUN message.
    #[error("not a well-formed STUN message")]
    Malformed,
    /// The message is a response, an indication or another method's.
    #[error("not a binding request")]
    NotBindingRequest,
    /// The checksum says that the message was damaged, or that it is something else's.
    #[error("FINGERPRINT does not match")]
    FingerprintMismatch,
    /// The request names nobody.
    #[error("USERNAME is missing")]
    MissingUsername,
    /// The user name is not two fragments with a colon between, or not the ones agreed upon.
    #[error("USERNAME is not one that was agreed upon")]
    UnknownUsername,
    /// The request proves nothing.
    #[error("MESSAGE-INTEGRITY is missing")]
    MissingIntegrity,
    /// The request was not made with our password.
    #[error("MESSAGE-INTEGRITY does not match")]
    IntegrityMismatch,
}

/// A binding request as it came, before anything in it is proved.
#[derive(Debug, Clone)]
pub struct BindingRequest {
    message: Message,
    local_ufrag: String,
    remote_ufrag: String,
    priority: u32,
    use_candidate: bool,
    is_from_controlled: bool,
    unknown: Vec<AttrType>,
}

impl BindingRequest {
    /// Reads a datagram that should be a binding request with short-term credentials.
    pub fn parse(datagram: &[u8]) -> Result<Self, StunError> {
        let message = decode(datagram)?;
        if message.typ != BINDING_REQUEST {
            return Err(StunError::NotBindingRequest);
        }
        let covered = check_fingerprint(&message)?;
        let integrity = covered.iter().position(|attribute| attribute.typ == ATTR_MESSAGE_INTEGRITY);
        let integrity = integrity.ok_or(StunError::MissingIntegrity)?;
        let (proved, rest) = covered.split_at(integrity);
        if rest.first().is_none_or(|attribute| attribute.value.len() != INTEGRITY_BYTES) {
            return Err(StunError::Malformed);
        }
        let (local_ufrag, remote_ufrag) = split_username(proved)?;
        let find = |typ| proved.iter().find(|attribute| attribute.typ == typ);
        let priority = match find(ATTR_PRIORITY) {
            Some(attribute) => {
                u32::from_be_bytes(attribute.value.as_slice().try_into().map_err(|_| StunError::Malformed)?)
            }
            None => 0, // RFC 8445 §7.1.1 demands one; without it the candidate is simply the last choice
        };
        let unknown =
            proved.iter().map(|attribute| attribute.typ).filter(|&typ| typ.required() && !is_known(typ));
        Ok(Self {
            priority,
            use_candidate: find(ATTR_USE_CANDIDATE).is_some(),
            is_from_controlled: find(ATTR_ICE_CONTROLLED).is_some(),
            unknown: unknown.take(UNKNOWN_ATTRIBUTES_MAX).collect(),
            local_ufrag,
            remote_ufrag,
            message,
        })
    }

    /// Our user name fragment: whom the request is for.
    pub fn local_ufrag(&self) -> &str {
        &self.local_ufrag
    }

    /// The peer's user name fragment: whom the request says it is from.
    pub fn remote_ufrag(&self) -> &str {
        &self.remote_ufrag
    }

    /// The priority that a candidate learned from this request has (RFC 8445 §7.1.1).
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// Whether the peer nominates the path that the request takes (RFC 8445 §7.1.2).
    pub fn use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// The 96 bits that pair a response with this request.
    pub fn transaction(&self) -> [u8; 12] {
        self.message.transaction_id.0
    }

    /// Whether the peer believes itself to be the controlled agent, which a lite agent is (RFC 8445 §6.1.1).
    pub(super) fn is_from_controlled(&self) -> bool {
        self.is_from_controlled
    }

    /// Whether the request demands the understanding of attributes that are not understood here.
    pub(super) fn has_unknown_attributes(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Checks MESSAGE-INTEGRITY in constant time.
    pub fn authenticate(&self, password: &str) -> Result<(), StunError> {
        let mut message = self.message.clone(); // rtc-stun writes into the message while it checks
        MessageIntegrity::check(&mut message, password.as_bytes(), PROVIDER.crypto())
            .map_err(|_| StunError::IntegrityMismatch)
    }

    /// The success response: the address that the request came from.
    pub fn success(&self, remote: SocketAddr, password: &str) -> Vec<u8> {
        let address = XorMappedAddress { ip: remote.ip(), port: remote.port() };
        self.respond(&BINDING_SUCCESS, &[&address], password)
    }

    /// The 487 response: both ends believe themselves controlled.
    pub(super) fn role_conflict(&self, password: &str) -> Vec<u8> {
        self.respond(&BINDING_ERROR, &[&CODE_ROLE_CONFLICT], password)
    }

    /// The 420 response: the attributes that are not understood.
    pub(super) fn unknown_attributes(&self, password: &str) -> Vec<u8> {
        let unknown = UnknownAttributes(self.unknown.clone());
        self.respond(&BINDING_ERROR, &[&CODE_UNKNOWN_ATTRIBUTE, &unknown], password)
    }

    fn respond(&self, class: &dyn Setter, attributes: &[&dyn Setter], password: &str) -> Vec<u8> {
        let integrity = MessageIntegrity::new_raw_integrity_with_provider(password, PROVIDER.crypto());
        let mut message = Message::new();
        message.write_header();
        let head: [&dyn Setter; 2] = [class, &self.message.transaction_id];
        let tail: [&dyn Setter; 2] = [&integrity, &FINGERPRINT];
        for setter in head.iter().chain(attributes).chain(&tail) {
            setter.add_to(&mut message).expect("short attributes of fixed form always fit a message");
        }
        message.raw
    }
}

fn decode(datagram: &[u8]) -> Result<Message, StunError> {
    if datagram.len() > MESSAGE_BYTES_MAX {
        return Err(StunError::TooLong(datagram.len()));
    }
    let mut message = Message::default();
    message.unmarshal_binary(datagram).map_err(|_| StunError::Malformed)?;
    let is_filled = datagram.len() == MESSAGE_HEADER_SIZE + message.length as usize;
    let is_aligned = datagram.len().is_multiple_of(4);
    if datagram[0] > 3 || !is_filled || !is_aligned {
        return Err(StunError::Malformed);
    }
    Ok(message)
}

/// The attributes that come before FINGERPRINT, which must match and be last if it is there at all.
fn check_fingerprint(message: &Message) -> Result<&[RawAttribute], StunError> {
    let attributes = message.attributes.0.as_slice();
    match attributes.iter().position(|attribute| attribute.typ == ATTR_FINGERPRINT) {
        None => Ok(attributes),
        Some(position) if position + 1 == attributes.len() => {
            FINGERPRINT.check(message).map_err(|_| StunError::FingerprintMismatch)?;
            Ok(&attributes[..position])
        }
        Some(_) => Err(StunError::Malformed),
    }
}

/// `local:remote`, both of RFC 8839 §5.4's characters and lengths.
fn split_username(attributes: &[RawAttribute]) -> Result<(String, String), StunError> {
    let username = attributes.iter().find(|attribute| attribute.typ == ATTR_USERNAME);
    let username = username.ok_or(StunError::MissingUsername)?;
    let text = str::from_utf8(&username.value).map_err(|_| StunError::UnknownUsername)?;
    let (local, remote) = text.split_once(':').ok_or(StunError::UnknownUsername)?;
    let is_fragment = |text: &str| {
        let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        (1..=256).contains(&text.len()) && text.bytes().all(is_ice_char)
    };
    if !is_fragment(local) || !is_fragment(remote) {
        return Err(StunError::UnknownUsername);
    }
    Ok((local.to_owned(), remote.to_owned()))
}

/// What may be in a request without being a reason for a 420 response.
///
/// Some have no business in a binding request, but RFC 8489 defines them, so they are understood and ignored.
fn is_known(typ: AttrType) -> bool {
    [
        ATTR_MAPPED_ADDRESS,
        ATTR_USERNAME,
        ATTR_MESSAGE_INTEGRITY,
        ATTR_MESSAGE_INTEGRITY_SHA256,
        ATTR_ERROR_CODE,
        ATTR_UNKNOWN_ATTRIBUTES,
        ATTR_REALM,
        ATTR_NONCE,
        ATTR_XORMAPPED_ADDRESS,
        ATTR_PRIORITY,
        ATTR_USE_CANDIDATE,
        ATTR_ICE_CONTROLLED,
        ATTR_ICE_CONTROLLING,
    ]
    .contains(&typ)
}

/// Requests as a peer makes them, for the tests of this module and of `ice_lite`.
#[cfg(test)]
pub(super) mod samples {
    use super::*;
    use ::stun::textattrs::Username;

    /// What a browser sends, and what is changed in it.
    pub(crate) struct Sample<'a> {
        pub(crate) username: &'a str,
        pub(crate) password: &'a str,
        pub(crate) priority: u32,
        pub(crate) before_integrity: &'a [(u16, &'a [u8])],
        pub(crate) after_integrity: &'a [(u16, &'a [u8])],
    }

    pub(crate) const CONTROLLING: (u16, &[u8]) = (0x802a, &[1; 8]);
    pub(crate) const CONTROLLED: (u16, &[u8]) = (0x8029, &[1; 8]);
    pub(crate) const USE_CANDIDATE: (u16, &[u8]) = (0x0025, &[]);
    pub(crate) const NOMINATION: (u16, &[u8]) = (0xc001, &[0, 0, 0, 1]);
    pub(crate) const SURPRISE: (u16, &[u8]) = (0x7ffe, &[]);

    impl Sample<'_> {
        pub(crate) fn bytes(&self) -> Vec<u8> {
            let mut message = Message::new();
            message.write_header();
            message.set_type(BINDING_REQUEST);
            message.transaction_id.0 = *b"transaction!";
            message.write_transaction_id();
            let username = Username::new(ATTR_USERNAME, self.username.to_owned());
            username.add_to(&mut message).expect("short");
            message.add(ATTR_PRIORITY, &self.priority.to_be_bytes());
            for (typ, value) in self.before_integrity {
                message.add(AttrType(*typ), value);
            }
            let integrity =
                MessageIntegrity::new_raw_integrity_with_provider(self.password, PROVIDER.crypto());
            integrity.add_to(&mut message).expect("before the fingerprint");
            for (typ, value) in self.after_integrity {
                message.add(AttrType(*typ), value);
            }
            FINGERPRINT.add_to(&mut message).expect("last");
            message.raw
        }
    }

    impl Default for Sample<'_> {
        fn default() -> Self {
            Self {
                username: "ours:theirs",
                password: "our password",
                priority: 100,
                before_integrity: &[CONTROLLING],
                after_integrity: &[],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc_crypto::HmacAlgorithm;

    use super::samples::{CONTROLLED, CONTROLLING, NOMINATION, SURPRISE, Sample, USE_CANDIDATE};
    use super::*;

    /// RFC 5769 §2.1, whose password is `VOkJxbRl1RmTxUk/WvJxBt`.
    const RFC_5769_REQUEST: &[u8] =
        b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\
        \x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09evtj:h6vY   \
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    #[test]
    fn the_sample_request_of_rfc_5769_is_understood_and_authentic() {
        let request = BindingRequest::parse(RFC_5769_REQUEST).expect("a binding request");
        assert_eq!(request.local_ufrag(), "evtj");
        assert_eq!(request.remote_ufrag(), "h6vY");
        assert_eq!(request.priority(), 0x6e00_01ff);
        assert_eq!(request.transaction()[..4], [0xb7, 0xe7, 0xa7, 0x01]);
        assert!(!request.use_candidate());
        assert!(request.is_from_controlled());
        assert_eq!(request.authenticate("VOkJxbRl1RmTxUk/WvJxBt"), Ok(()));
        assert_eq!(request.authenticate("VOkJxbRl1RmTxUk/WvJxBT"), Err(StunError::IntegrityMismatch));
    }

    #[test]
    fn what_is_no_binding_request_with_credentials_is_refused_by_name() {
        let good = Sample::default().bytes();
        let altered = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        let without = |from_end: usize| {
            let mut bytes = good[..good.len() - from_end].to_vec();
            bytes[3] -= from_end as u8;
            bytes
        };
        let named = |username| Sample { username, ..Sample::default() }.bytes();
        let integrity_at = good.len() - 8 - 24;
        for (name, bytes, error) in [
            ("nothing", vec![], StunError::Malformed),
            ("a header cut short", good[..19].to_vec(), StunError::Malformed),
            ("an attribute cut short", good[..good.len() - 4].to_vec(), StunError::Malformed),
            ("bytes behind the message", [&good[..], &[0; 4]].concat(), StunError::Malformed),
            ("another cookie", altered(4, 0), StunError::Malformed),
            ("the two high bits set", altered(0, 0x80), StunError::Malformed),
            ("too long", vec![0; 1281], StunError::TooLong(1281)),
            ("an indication", altered(1, 0x11), StunError::NotBindingRequest),
            ("a response", altered(0, 1), StunError::NotBindingRequest),
            ("damaged", altered(30, 0x55), StunError::FingerprintMismatch),
            (
                "only a header",
                vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                { StunError::MissingIntegrity },
            ),
            ("without integrity", without(8 + 24), StunError::MissingIntegrity),
            ("no colon", named("ours"), StunError::UnknownUsername),
            ("half a user name", named("ours:"), StunError::UnknownUsername),
            ("three parts", named("ours:theirs:more"), StunError::UnknownUsername),
            ("not ICE's letters", named("ours:thé"), StunError::UnknownUsername),
        ] {
            assert_eq!(BindingRequest::parse(&bytes).err(), Some(error), "{name}");
        }
        assert!(BindingRequest::parse(&good).is_ok());
        assert!(BindingRequest::parse(&without(8)).is_ok(), "FINGERPRINT may be missing");
        assert_eq!(good[integrity_at..integrity_at + 2], [0, 8], "the offsets above are right");
    }

    #[test]
    fn a_short_or_misplaced_attribute_is_refused() {
        let message = |attributes: &[(u16, &[u8])]| {
            let mut message = Message::new();
            message.write_header();
            message.set_type(BINDING_REQUEST);
            for (typ, value) in attributes {
                message.add(AttrType(*typ), value);
            }
            message.raw
        };
        let username: (u16, &[u8]) = (0x0006, b"ours:theirs");
        for (name, attributes, error) in [
            ("an integrity of 19 bytes", &[username, (0x0008, &[0; 19])][..], StunError::Malformed),
            ("an empty integrity", &[username, (0x0008, &[])], StunError::Malformed),
            ("no user name", &[(0x0008, &[0; 20])], StunError::MissingUsername),
            ("a user name only after integrity", &[(0x0008, &[0; 20]), username], StunError::MissingUsername),
            (
                "a priority of 3 bytes",
                &[username, (0x0024, &[0; 3]), (0x0008, &[0; 20])],
                StunError::Malformed,
            ),
            ("a fingerprint of 3 bytes", &[username, (0x0008, &[0; 20]), (0x8028, &[0; 3])], {
                StunError::FingerprintMismatch
            }),
            ("a fingerprint in the middle", &[username, (0x8028, &[0; 4]), (0x0008, &[0; 20])], {
                StunError::Malformed
            }),
        ] {
            assert_eq!(BindingRequest::parse(&message(attributes)).err(), Some(error), "{name}");
        }
    }

    #[test]
    fn what_follows_integrity_counts_for_nothing() {
        let sample = Sample { after_integrity: &[USE_CANDIDATE, CONTROLLED, SURPRISE], ..Sample::default() };
        let request = BindingRequest::parse(&sample.bytes()).expect("legal");
        assert_eq!(request.authenticate("our password"), Ok(()));
        assert!(
            !request.use_candidate() && !request.is_from_controlled() && !request.has_unknown_attributes()
        );
        let sample = Sample { before_integrity: &[USE_CANDIDATE, CONTROLLED, SURPRISE], ..Sample::default() };
        let request = BindingRequest::parse(&sample.bytes()).expect("legal");
        assert!(request.use_candidate() && request.is_from_controlled() && request.has_unknown_attributes());
    }

    #[test]
    fn only_unknown_required_attributes_are_unknown() {
        for (attribute, is_unknown) in [
            (CONTROLLING, false),
            (NOMINATION, false),
            ((0x8020, &[][..]), false), // rtc-stun takes it for XOR-MAPPED-ADDRESS
            ((0xc057, &[0; 4]), false),
            ((0x0014, b"realm"), false),
            ((0x0002, &[]), true),
            (SURPRISE, true),
        ] {
            let bytes = Sample { before_integrity: &[attribute], ..Sample::default() }.bytes();
            let request = BindingRequest::parse(&bytes).expect("legal");
            assert_eq!(request.has_unknown_attributes(), is_unknown, "{:#06x}", attribute.0);
        }
    }

    #[test]
    fn responses_are_what_rtc_stun_and_hmac_say_they_are() {
        let request = BindingRequest::parse(&Sample::default().bytes()).expect("legal");
        for remote in ["203.0.113.7:54321", "[2001:db8::7]:1"] {
            let remote: SocketAddr = remote.parse().expect("an address");
            let bytes = request.success(remote, "our password");
            let message = decode(&bytes).expect("a message");
            assert_eq!(message.typ, BINDING_SUCCESS);
            assert_eq!(message.transaction_id.0, request.transaction());
            let mut address = XorMappedAddress::default();
            ::stun::message::Getter::get_from(&mut address, &message).expect("an address");
            assert_eq!(SocketAddr::new(address.ip, address.port), remote);
            check_tail(&bytes);
        }
        for (bytes, code) in
            [(request.role_conflict("our password"), 87), (request.unknown_attributes("our password"), 20)]
        {
            let message = decode(&bytes).expect("a message");
            assert_eq!(message.typ, BINDING_ERROR);
            assert_eq!(message.transaction_id.0, request.transaction());
            assert_eq!(message.get(ATTR_ERROR_CODE).expect("a code")[..4], [0, 0, 4, code]);
            check_tail(&bytes);
        }
    }

    /// MESSAGE-INTEGRITY computed by hand (RFC 8489 §14.5), FINGERPRINT by rtc-stun.
    fn check_tail(bytes: &[u8]) {
        let message = decode(bytes).expect("a message");
        assert_eq!(FINGERPRINT.check(&message).ok(), Some(()));
        let integrity_at = bytes.len() - 8 - 24;
        let length = (integrity_at + 24 - 20) as u16;
        let mut hmac = PROVIDER.crypto().new_hmac(HmacAlgorithm::Sha1, b"our password").expect("HMAC-SHA1");
        let parts = [&bytes[..2], &length.to_be_bytes(), &bytes[4..integrity_at]];
        assert!(hmac.verify(&parts, &bytes[integrity_at + 4..integrity_at + 24]).is_ok());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(BindingRequest::parse(&bytes).is_err());
        }

        #[test]
        fn altered_requests_neither_panic_nor_authenticate(at in 0_usize..96, xor in 1_u8.., cut in 0_usize..96) {
            let mut bytes = Sample::default().bytes();
            bytes.truncate(bytes.len() - 8); // without FINGERPRINT, so that more is reached
            bytes[3] -= 8;
            prop_assert!(BindingRequest::parse(&bytes).is_ok());
            let at = at % bytes.len();
            bytes[at] ^= xor;
            let accepted = |bytes: &[u8]| {
                BindingRequest::parse(bytes).is_ok_and(|request| request.authenticate("our password").is_ok())
            };
            // Padding after the user name is covered by the HMAC as well, so no byte is free.
            prop_assert!(!accepted(&bytes));
            bytes.truncate(cut % bytes.len());
            prop_assert!(!accepted(&bytes));
        }

        #[test]
        fn arbitrary_attributes_never_panic(
            attributes in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20)
        ) {
            let attributes = attributes.iter().map(|(typ, value)| (*typ, value.as_slice()));
            // rtc-stun does not write an integrity after a fingerprint; that order has a row of its own above.
            let attributes: Vec<_> = attributes.filter(|(typ, _)| *typ != ATTR_FINGERPRINT.0).collect();
            let (before, after) = attributes.split_at(attributes.len() / 2);
            let bytes = Sample { before_integrity: before, after_integrity: after, ..Sample::default() }.bytes();
            if let Ok(request) = BindingRequest::parse(&bytes) {
                let _ = request.authenticate("our password");
            }
        }

        #[test]
        fn a_response_is_never_twice_as_long_as_its_request(unknown in 0_usize..200, is_v6 in any::<bool>()) {
            let attributes = vec![SURPRISE; unknown];
            let bytes = Sample { username: "o:t", before_integrity: &attributes, ..Sample::default() }.bytes();
            let request = BindingRequest::parse(&bytes).expect("legal");
            let remote = if is_v6 { "[2001:db8::7]:1" } else { "203.0.113.7:54321" };
            let remote = remote.parse().expect("an address");
            for response in [request.success(remote, "p"), request.role_conflict("p"), request.unknown_attributes("p")] {
                prop_assert!(response.len() < 2 * bytes.len(), "{} for {}", response.len(), bytes.len());
            }
        }
    }
}
