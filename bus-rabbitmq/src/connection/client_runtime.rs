//! Runtime of the client: our tokio runtime, with tasks that can be ended.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::{Task, TaskImpl};
use async_trait::async_trait;
use futures_util::Stream;
use futures_util::io::{AsyncRead, AsyncWrite};
use lapin::tcp::AsyncTcpStream;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

use super::socket::Socket;

/// Stream below a [`Socket`], encrypted or not.
pub(crate) type Wire = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// Runtime of one attempt to connect, and of the connection that comes of it.
///
/// The client leaves tasks behind when an attempt fails; they are ended here. Its thread
/// (`lapin-io-loop`) ends by itself once its socket is shut.
#[derive(Clone)]
pub(crate) struct ClientRuntime {
    tokio: Tokio,
    handle: Handle,
    /// Handles of the tasks that the client has started.
    ///
    /// Those of finished tasks leave from time to time.
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
}

impl ClientRuntime {
    /// Creates a handle to the current tokio runtime.
    ///
    /// Must be called inside a tokio runtime.
    pub(crate) fn current() -> Self {
        Self {
            tokio: Tokio::current(),
            handle: Handle::current(),
            tasks: Arc::default(),
        }
    }

    /// Ends every task of the client.
    ///
    /// A future that waits for one of these tasks may wait without end.
    pub(crate) fn end(&self) {
        for task in self.lock().drain(..) {
            task.abort();
        }
    }

    /// Keeps the handle of a task.
    ///
    /// Finished tasks are dropped only when the list would grow, so the cost of a task does not
    /// depend on the number of tasks.
    fn track<T>(&self, task: JoinHandle<T>) -> JoinHandle<T> {
        let mut tasks = self.lock();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task.abort_handle());
        task
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<AbortHandle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ClientRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRuntime").finish_non_exhaustive()
    }
}

impl RuntimeKit for ClientRuntime {}

impl Executor for ClientRuntime {
    type Task<T: Send + 'static> = ClientTask<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.handle.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        ClientTask(self.track(self.handle.spawn(future))).into()
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        function: F,
    ) -> Task<Self::Task<T>> {
        ClientTask(self.handle.spawn_blocking(function)).into()
    }
}

impl Reactor for ClientRuntime {
    type TcpStream = Socket<Wire>;
    type Sleep = <Tokio as Reactor>::Sleep;

    // The client makes no use of it, and the type to return cannot be named outside of its crate.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Socket<Wire>, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.tokio.tcp_connect_addr(address);
        async move { Ok(Socket::new(AsyncTcpStream::Plain(connecting.await?)).0) }
    }
}

/// Task of the client.
///
/// One that was ended by us never has an output: the client has no case for that, and the future
/// that waits for it is ended as well.
#[derive(Debug)]
pub(crate) struct ClientTask<T>(JoinHandle<T>);

#[async_trait]
impl<T: Send + 'static> TaskImpl for ClientTask<T> {
    async fn cancel(&mut self) -> Option<T> {
        self.0.abort();
        (&mut self.0).await.ok()
    }
}

impl<T: Send + 'static> Future for ClientTask<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(output) => Poll::Ready(output),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Ended by us: there is no output, and nothing else waits for it.
            Err(_) => Poll::Pending,
        }
    }
}
