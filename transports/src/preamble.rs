//! What the opener of a stream says first, inside the encryption: what the stream is for.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Binds a bulk connection to its control connection: known to the two ends of that only.
#[cfg(any(feature = "tcp", feature = "unix"))]
pub(crate) type Token = [u8; 16];

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// The control stream of a new connection.
    Control,
    /// A bulk stream of a connection that is already there.
    Bulk,
}

const CONTROL: u8 = 1;
const BULK: u8 = 2;

impl Purpose {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Control => CONTROL,
            Self::Bulk => BULK,
        }
    }

    /// Reads one. Cancel-safe: it is one byte.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        match from.read_u8().await? {
            CONTROL => Ok(Self::Control),
            BULK => Ok(Self::Bulk),
            other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("unknown stream purpose {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_keep_their_numbers() {
        assert_eq!([Purpose::Control, Purpose::Bulk].map(Purpose::byte), [1, 2]);
    }

    #[tokio::test]
    async fn only_known_purposes_are_read() {
        for byte in 0..=u8::MAX {
            let read = Purpose::read(&mut [byte].as_slice()).await;
            assert_eq!(read.is_ok_and(|purpose| purpose.byte() == byte), byte == CONTROL || byte == BULK);
        }
        assert!(Purpose::read(&mut [].as_slice()).await.is_err());
    }
}
