//! A job's output as it comes.

use crate::{Error, connection::Call};
use bytes::Bytes;
use cupola_protocol::warden::{InfoResponse, StreamRequest};
use futures::Stream;

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One thing that a job did.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// It wrote.
    Data {
        /// Where to.
        name: Name,
        /// What.
        bytes: Bytes,
        /// Bytes of output up to the end of this piece: where to go on after a break.
        offset: u64,
    },
    /// It ended; nothing follows.
    Exited {
        /// Exit status; 255 after a signal, or when it is not known.
        status: u32,
        /// The container at that moment.
        info: Box<Option<InfoResponse>>,
    },
}

/// A job's output, from an offset to its end. Dropping it keeps the job.
#[derive(Debug)]
pub struct JobStream {
    call: Call<StreamRequest>,
    offset: u64,
    ended: bool,
}

impl JobStream {
    pub(crate) fn new(call: Call<StreamRequest>, offset: u64) -> Self {
        JobStream { call, offset, ended: false }
    }

    /// The next piece; `None` after [`Output::Exited`]. Cancelling it loses nothing. After an error the stream is
    /// of no further use; [`Self::offset`] says where a new one should begin.
    pub async fn next(&mut self) -> Result<Option<Output>, Error> {
        if self.ended {
            return Ok(None);
        }
        let response = self.call.answer().await?;
        if let Some(bytes) = response.data {
            // A historic server sends no offsets: what has come is counted instead.
            self.offset = response.offset.unwrap_or(self.offset + bytes.len() as u64);
            let name = if response.name.as_deref() == Some("stderr") { Name::Stderr } else { Name::Stdout };
            return Ok(Some(Output::Data { name, bytes, offset: self.offset }));
        }
        self.ended = true;
        Ok(Some(Output::Exited {
            status: response.exit_status.unwrap_or(255),
            info: Box::new(response.info),
        }))
    }

    /// Bytes of output received or skipped so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The same as a [`Stream`] that ends after [`Output::Exited`] or the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Output, Error>> + Send {
        futures::stream::try_unfold(self, |mut stream| async move {
            Ok(stream.next().await?.map(|item| (item, stream)))
        })
    }
}
