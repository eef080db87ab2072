//! The question whether a component is well, put to the task that does its work.

use tokio::sync::{mpsc, oneshot};

/// Questions for a component; ends never.
#[derive(Debug)]
pub struct Questions(mpsc::Receiver<Question>);

/// One question: the component brings its gauges up to date, and then answers.
#[derive(Debug)]
pub struct Question(oneshot::Sender<Vec<String>>);

/// A component's two ends of the conversation.
pub(crate) fn channel() -> (mpsc::Sender<Question>, Questions) {
    let (ask, questions) = mpsc::channel(1);
    (ask, Questions(questions))
}

impl Questions {
    /// The next question; waits for ever when no page asks any more, so that it can stand in a `select!`.
    pub async fn next(&mut self) -> Question {
        match self.0.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }
}

impl Question {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Vec<String>>) {
        let (answer, answered) = oneshot::channel();
        (Self(answer), answered)
    }

    /// Answers with what is wrong, in words for an operator; nothing means that all is well.
    pub fn answer(self, problems: impl IntoIterator<Item = String>) {
        // Whoever asked may have gone away.
        let _ = self.0.send(problems.into_iter().collect());
    }
}
