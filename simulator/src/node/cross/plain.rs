//! QUIC without a cipher: what `quinn-proto` asks of TLS, in the clear.
//!
//! In: handshake messages. Out: the same. Time: none. Limit: a message is as long as two bytes count.
//!
//! The handshake takes as many turns as TLS 1.3's, so that data flows after one round trip, as with TCP; and packets have
//! tags of the usual length, so that sizes are right. What is left out is cost and chance.

use std::any::Any;
use std::sync::Arc;

use bytes::BytesMut;
use quinn_proto::crypto::{
    AeadKey, ClientConfig, CryptoError, ExportKeyingMaterialError, HandshakeTokenKey, HeaderKey, HmacKey,
    KeyPair, Keys, PacketKey, ServerConfig, Session, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError, TransportErrorCode};

/// The bytes of AES-GCM's tag (RFC 9001 §5.3), and what stands there: anything but a stateless reset token.
const TAG: [u8; 16] = [0xa5; 16];

/// Everything that endpoints and connections want to have of a cipher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain;

impl ClientConfig for Plain {
    fn start_session(
        self: Arc<Self>,
        _version: u32,
        _server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        Ok(Box::new(PlainSession::new(Side::Client, params)))
    }
}

impl ServerConfig for Plain {
    fn initial_keys(&self, _version: u32, _dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        Ok(keys())
    }

    fn retry_tag(&self, _version: u32, _orig_dst_cid: &ConnectionId, _packet: &[u8]) -> [u8; 16] {
        TAG
    }

    fn start_session(self: Arc<Self>, _version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Box::new(PlainSession::new(Side::Server, params))
    }
}

/// How far a handshake has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// To say hello: the client first, the server once it has heard one.
    Hello,
    /// To tell (server) or hear (client) parameters.
    Parameters,
    /// To hear that the client is done.
    Finished,
    Done,
}

struct PlainSession {
    side: Side,
    turn: Turn,
    /// Our transport parameters.
    ours: Vec<u8>,
    theirs: Option<TransportParameters>,
    /// Handshake bytes that are no whole message yet.
    heard: Vec<u8>,
    /// Whole messages that have been heard.
    messages: u32,
}

impl PlainSession {
    fn new(side: Side, params: &TransportParameters) -> Self {
        let mut ours = Vec::new();
        params.write(&mut ours);
        Self { side, turn: Turn::Hello, ours, theirs: None, heard: Vec::new(), messages: 0 }
    }

    /// A message: two bytes of length, then its contents.
    fn say(contents: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&(contents.len() as u16).to_be_bytes());
        out.extend_from_slice(contents);
    }

    fn hear(&mut self, message: &[u8]) -> Result<(), TransportError> {
        self.messages += 1;
        match (self.side, self.messages) {
            // The client's hello and the server's second message are their parameters.
            (Side::Server, 1) | (Side::Client, 2) => {
                self.theirs = Some(TransportParameters::read(self.side, &mut &message[..])?);
            }
            (Side::Client, 1) | (Side::Server, 2) => {}
            (Side::Client | Side::Server, _) => return Err(TransportErrorCode::PROTOCOL_VIOLATION.into()),
        }
        Ok(())
    }
}

impl Session for PlainSession {
    fn initial_keys(&self, _dst_cid: &ConnectionId, _side: Side) -> Keys {
        keys()
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.messages < 2
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.heard.extend_from_slice(bytes);
        while let Some((length, rest)) = self.heard.split_first_chunk()
            && let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*length)))
        {
            let message = message.to_vec();
            self.heard.drain(..2 + message.len());
            self.hear(&message)?;
        }
        Ok(false)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        Ok(self.theirs)
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        match (self.side, self.turn, self.messages) {
            (Side::Client, Turn::Hello, 0) => {
                Self::say(&self.ours, out);
                self.turn = Turn::Parameters;
                None
            }
            (Side::Server, Turn::Hello, 1) => {
                Self::say(&[], out);
                self.turn = Turn::Parameters;
                Some(keys())
            }
            (Side::Server, Turn::Parameters, _) => {
                Self::say(&self.ours, out);
                self.turn = Turn::Finished;
                Some(keys())
            }
            // The server's hello brings keys for what comes next, and nothing to say.
            (Side::Client, Turn::Parameters, 1..) => {
                self.turn = Turn::Finished;
                Some(keys())
            }
            (Side::Client, Turn::Finished, 2..) => {
                Self::say(&[], out);
                self.turn = Turn::Done;
                Some(keys())
            }
            (
                Side::Client | Side::Server,
                Turn::Hello | Turn::Parameters | Turn::Finished | Turn::Done,
                _,
            ) => None,
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        Some(keys().packet)
    }

    fn is_valid_retry(&self, _orig_dst_cid: &ConnectionId, _header: &[u8], _payload: &[u8]) -> bool {
        false
    }

    fn export_keying_material(
        &self,
        _output: &mut [u8],
        _label: &[u8],
        _context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

fn keys() -> Keys {
    Keys {
        header: KeyPair { local: Box::new(Plain), remote: Box::new(Plain) },
        packet: KeyPair { local: Box::new(Plain), remote: Box::new(Plain) },
    }
}

impl HeaderKey for Plain {
    fn decrypt(&self, _pn_offset: usize, _packet: &mut [u8]) {}

    fn encrypt(&self, _pn_offset: usize, _packet: &mut [u8]) {}

    fn sample_size(&self) -> usize {
        TAG.len()
    }
}

impl PacketKey for Plain {
    fn encrypt(&self, _packet: u64, buf: &mut [u8], _header_len: usize) {
        if let Some(tag) = buf.last_chunk_mut() {
            *tag = TAG;
        }
    }

    fn decrypt(&self, _packet: u64, _header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        let contents = payload.strip_suffix(&TAG).ok_or(CryptoError)?.len();
        payload.truncate(contents);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        TAG.len()
    }

    fn confidentiality_limit(&self) -> u64 {
        u64::MAX
    }

    fn integrity_limit(&self) -> u64 {
        u64::MAX
    }
}

/// Signs stateless reset tokens, which are to differ from each other and from [`TAG`].
impl HmacKey for Plain {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.fill(0);
        for (place, byte) in data.iter().enumerate() {
            let place = place % signature.len().max(1);
            signature[place] = signature[place].rotate_left(3) ^ byte;
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mut expected = vec![0; self.signature_len()];
        self.sign(data, &mut expected);
        if expected == signature { Ok(()) } else { Err(CryptoError) }
    }
}

/// Tokens for address validation, which nobody sends.
impl HandshakeTokenKey for Plain {
    fn aead_from_hkdf(&self, _random_bytes: &[u8]) -> Box<dyn AeadKey> {
        Box::new(Self)
    }
}

impl AeadKey for Plain {
    fn seal(&self, data: &mut Vec<u8>, _additional_data: &[u8]) -> Result<(), CryptoError> {
        data.extend_from_slice(&TAG);
        Ok(())
    }

    fn open<'a>(&self, data: &'a mut [u8], _additional_data: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        let contents = data.strip_suffix(&TAG).ok_or(CryptoError)?.len();
        Ok(&mut data[..contents])
    }
}
