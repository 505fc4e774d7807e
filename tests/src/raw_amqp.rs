//! AMQP by hand, to say what no client library lets one say.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

/// Short of the least that a broker takes by default.
const BODY_FRAME: usize = 100_000;

const CONNECTION_OPEN_OK: [u8; 4] = [0, 10, 0, 41];
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];

/// The highest flag of the properties; the others follow below in the order of the specification.
const CONTENT_TYPE: u16 = 15;

/// A property of a message, encoded, with the bit of its flag.
#[derive(Clone, Debug)]
pub struct Property {
    flag: u16,
    bytes: Vec<u8>,
}

impl Property {
    /// The content type; bytes, as all short strings here.
    pub fn content_type(text: &[u8]) -> Self {
        Self::short(CONTENT_TYPE, text)
    }

    /// The headers, from encoded entries: see [`entry`].
    pub fn headers(entries: &[Vec<u8>]) -> Self {
        Self {
            flag: 13,
            bytes: long(&entries.concat()),
        }
    }

    /// The priority.
    pub fn priority(priority: u8) -> Self {
        Self {
            flag: 11,
            bytes: vec![priority],
        }
    }

    /// The delivery mode; 1 and 2 are what the specification knows.
    pub fn delivery_mode(mode: u8) -> Self {
        Self {
            flag: 12,
            bytes: vec![mode],
        }
    }

    /// The time in seconds since 1970.
    pub fn timestamp(seconds: u64) -> Self {
        Self {
            flag: 6,
            bytes: seconds.to_be_bytes().to_vec(),
        }
    }

    /// The content encoding.
    pub fn content_encoding(text: &[u8]) -> Self {
        Self::short(14, text)
    }

    /// The queue for replies.
    pub fn reply_to(text: &[u8]) -> Self {
        Self::short(9, text)
    }

    /// The id of the cluster, which nobody uses.
    pub fn cluster_id(text: &[u8]) -> Self {
        Self::short(2, text)
    }

    /// The correlation id.
    pub fn correlation_id(text: &[u8]) -> Self {
        Self::short(10, text)
    }

    /// The time to live in milliseconds, as text.
    pub fn expiration(text: &[u8]) -> Self {
        Self::short(8, text)
    }

    /// The message id.
    pub fn message_id(text: &[u8]) -> Self {
        Self::short(7, text)
    }

    /// The type.
    pub fn kind(text: &[u8]) -> Self {
        Self::short(5, text)
    }

    /// The id of the application.
    pub fn app_id(text: &[u8]) -> Self {
        Self::short(3, text)
    }

    fn short(flag: u16, text: &[u8]) -> Self {
        Self {
            flag,
            bytes: short(text),
        }
    }
}

/// A header: its name, and its value with the tag in front.
pub fn entry(name: &[u8], value: Vec<u8>) -> Vec<u8> {
    [short(name), value].concat()
}

/// A text as the value of a header.
pub fn text(bytes: &[u8]) -> Vec<u8> {
    [vec![b'S'], long(bytes)].concat()
}

/// Lists within lists as the value of a header; built from the inside, so that any depth can be had.
pub fn nested(levels: u32) -> Vec<u8> {
    let mut heads: Vec<u8> = (0..levels)
        .rev()
        .flat_map(|inner| {
            let length = (inner * 5 + 1).to_be_bytes();
            [b'A', length[0], length[1], length[2], length[3]]
        })
        .collect();
    heads.push(b'V');
    heads
}

/// Tables within tables as the value of a header.
pub fn nested_tables(levels: usize) -> Vec<u8> {
    /// The tag of a table, its length, the name of its only entry.
    const HEAD: usize = 7;
    let mut heads: Vec<u8> = (0..levels)
        .rev()
        .flat_map(|inner| {
            let length = u32::try_from(inner * HEAD + 3).expect("short of 4 GiB");
            let [a, b, c, d] = length.to_be_bytes();
            [b'F', a, b, c, d, 1, b't']
        })
        .collect();
    heads.push(b'V');
    heads
}

fn short(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("at most 255 bytes");
    [vec![length], text.to_vec()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short of 4 GiB");
    [length.to_be_bytes().to_vec(), bytes.to_vec()].concat()
}

fn content_header(properties: &[Property], body: usize) -> Vec<u8> {
    let mut properties = properties.to_vec();
    properties.sort_by_key(|property| std::cmp::Reverse(property.flag));
    let flags = properties
        .iter()
        .fold(0_u16, |flags, property| flags | 1 << property.flag);
    let mut header = vec![0, 60, 0, 0];
    header.extend((body as u64).to_be_bytes());
    header.extend(flags.to_be_bytes());
    header.extend(properties.into_iter().flat_map(|property| property.bytes));
    header
}

/// One connection with one channel that confirms.
#[derive(Debug)]
pub struct RawAmqp {
    stream: TcpStream,
}

impl RawAmqp {
    /// Connects to `host:port` as guest.
    ///
    /// # Panics
    /// If the broker does not play along.
    pub async fn connect(host: &str) -> Self {
        Self::connect_to(host, "/").await
    }

    /// Connects to a virtual host of `host:port` as guest.
    ///
    /// # Panics
    /// If the broker does not play along.
    pub async fn connect_to(host: &str, virtual_host: &str) -> Self {
        let connected = Self::try_connect(host, virtual_host).await;
        connected.expect("the broker plays along")
    }

    /// Connects, if there is a broker that is ready. Nothing is left of an attempt that fails.
    pub(crate) async fn try_connect(host: &str, virtual_host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(host).await?;
        let mut raw = Self { stream };
        raw.stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        raw.frame().await?;
        let mut start_ok = vec![0, 10, 0, 11];
        start_ok.extend(long(b""));
        start_ok.extend(short(b"PLAIN"));
        start_ok.extend(long(b"\0guest\0guest"));
        start_ok.extend(short(b"en_US"));
        raw.send(METHOD, 0, &start_ok).await?;
        let tune = raw.frame().await?;
        // The broker's own limits, without heartbeats.
        let limits = tune.get(4..10).ok_or(io::ErrorKind::InvalidData)?;
        let tune_ok = [&[0, 10, 0, 31], limits, &[0, 0]].concat();
        raw.send(METHOD, 0, &tune_ok).await?;
        let open = [
            vec![0, 10, 0, 40],
            short(virtual_host.as_bytes()),
            vec![0, 0],
        ]
        .concat();
        raw.send(METHOD, 0, &open).await?;
        let opened = raw.frame().await?;
        if !opened.starts_with(&CONNECTION_OPEN_OK) {
            let words = String::from_utf8_lossy(&opened);
            return Err(io::Error::other(words.into_owned()));
        }
        raw.send(METHOD, 1, &[0, 20, 0, 10, 0]).await?;
        raw.frame().await?;
        raw.send(METHOD, 1, &[0, 85, 0, 10, 0]).await?;
        raw.frame().await?;
        Ok(raw)
    }

    /// Publishes to a queue, and waits until the broker has confirmed it.
    ///
    /// # Panics
    /// If it does not, with its words.
    pub async fn publish(&mut self, queue: &str, properties: &[Property], body: &[u8]) {
        let offered = self.offer(queue, properties, body).await;
        offered.unwrap_or_else(|words| panic!("not confirmed: {words}"));
    }

    /// Publishes to a queue, if the broker takes the message; else its words, and the channel is closed.
    ///
    /// # Panics
    /// If the connection is lost.
    pub async fn offer(
        &mut self,
        queue: &str,
        properties: &[Property],
        body: &[u8],
    ) -> Result<(), String> {
        let answer = self.written(queue, properties, body).await;
        let answer = answer.expect("the broker answers");
        if answer.starts_with(&BASIC_ACK) {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&answer).into_owned())
        }
    }

    /// Publishes, and gives the broker's answer.
    async fn written(
        &mut self,
        queue: &str,
        properties: &[Property],
        body: &[u8],
    ) -> io::Result<Vec<u8>> {
        let mut publish = vec![0, 60, 0, 40, 0, 0];
        publish.extend(short(b""));
        publish.extend(short(queue.as_bytes()));
        publish.push(0);
        self.send(METHOD, 1, &publish).await?;
        let header = content_header(properties, body.len());
        self.send(CONTENT_HEADER, 1, &header).await?;
        for part in body.chunks(BODY_FRAME) {
            self.send(BODY, 1, part).await?;
        }
        self.frame().await
    }

    async fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(long(payload));
        frame.push(FRAME_END);
        self.stream.write_all(&frame).await
    }

    async fn frame(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; length as usize + 1];
        self.stream.read_exact(&mut payload).await?;
        payload.pop();
        Ok(payload)
    }
}
