//! A Redis to test against: the one of `REDIS_URL`, or an installed `redis-server`.

use std::fmt;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use super::process::ServerProcess;
use super::{find, given};
use crate::ports::free_ports;

/// What it has beyond the defaults: every change is on disk before its answer, as crashes are tested.
const SETTINGS: &str = "bind 127.0.0.1\nsave \"\"\nappendonly yes\nappendfsync always\n\
                        maxmemory-policy noeviction\n";

/// A running Redis.
pub struct RedisServer {
    url: String,
    password: String,
    host: String,
    process: Option<ServerProcess>,
}

impl RedisServer {
    /// The server that all tests of this process share, who take [`prefix`](Self::prefix)es. It ends with the process.
    ///
    /// # Panics
    /// If there is none, saying what to install: nothing is skipped.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RedisServer> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match given("REDIS_URL") {
                    Some(url) => Self::given(url),
                    None => Self::private().await,
                }
            })
            .await
    }

    /// A server of the caller's own, to be frozen, killed and started again.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub async fn private() -> Self {
        Self::configured("").await
    }

    /// A server of the caller's own with further lines of `redis.conf`.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub async fn configured(settings: &str) -> Self {
        let program = find("redis-server", []).expect(
            "no Redis to test against: install it (Debian, Ubuntu: apt-get install redis-server); REDIS_URL names \
             another one for the tests that do not stop it",
        );
        let [port] = free_ports();
        let password = Uuid::new_v4().simple().to_string();
        let mut process = ServerProcess::new("redis", port, "KILL");
        let folder = process.folder().display().to_string();
        let settings =
            format!("port {port}\ndir {folder}\nrequirepass {password}\n{SETTINGS}{settings}\n");
        let settings = process.write("redis.conf", &settings);
        let command = [program, settings].map(|path| path.display().to_string());
        let host = format!("127.0.0.1:{port}");
        process
            .launch(command.into(), || ready(&host, &password))
            .await;
        Self {
            url: format!("redis://:{password}@{host}"),
            password,
            host,
            process: Some(process),
        }
    }

    fn given(url: String) -> Self {
        let (_, rest) = url.split_once("://").expect("REDIS_URL has a scheme");
        let (login, host) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (_, password) = login.split_once(':').unwrap_or_default();
        Self {
            password: password.to_owned(),
            host: host.split('/').next().unwrap_or(host).to_owned(),
            url,
            process: None,
        }
    }

    /// Where it listens: `redis://:password@host:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A prefix for keys that no other test has.
    pub fn prefix() -> String {
        format!("test-{}:", Uuid::new_v4().simple())
    }

    /// What it answers to a command, as Redis writes it.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn command(&self, command: &str) -> String {
        let answer = ask(&self.host, &self.password, command).await;
        answer.expect("an answer")
    }

    /// Kills it without a word; what it has answered is on disk.
    pub async fn kill(&self) {
        self.process().kill().await;
    }

    /// Starts it again after [`kill`](Self::kill), with the data that it had.
    pub async fn start_again(&self) {
        self.process()
            .launch_again(|| ready(&self.host, &self.password))
            .await;
    }

    /// Stops its process where it is (SIGSTOP): connections stay, nothing is answered.
    pub async fn freeze(&self) {
        self.process().freeze().await;
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub async fn thaw(&self) {
        self.process().thaw().await;
    }

    fn process(&self) -> &ServerProcess {
        let process = self.process.as_ref();
        process.expect("the Redis of REDIS_URL is not ours to stop")
    }
}

/// While it loads its data, it refuses commands.
async fn ready(host: &str, password: &str) -> Result<(), String> {
    let answer = timeout(Duration::from_secs(3), ask(host, password, "PING"));
    match answer.await.map_err(|_| "no answer within 3 s")? {
        Ok(answer) if answer.contains("+PONG") => Ok(()),
        Ok(answer) => Err(answer),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs one command on a connection of its own.
async fn ask(host: &str, password: &str, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(host).await?;
    let login = match password {
        "" => String::new(),
        password => format!("AUTH {password}\r\n"),
    };
    let question = format!("{login}{command}\r\nQUIT\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let answer = answer.strip_suffix("+OK\r\n").unwrap_or(&answer);
    let answer = match password {
        "" => answer,
        _ => answer.strip_prefix("+OK\r\n").unwrap_or(answer),
    };
    Ok(answer.trim_end().to_owned())
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisServer")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
