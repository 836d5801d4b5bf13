//! How long a call waits, and how it stays interruptible: timeouts of Python, the interpreter lock and signals.
//!
//! A call first tries with the interpreter attached, since most of the time nothing has to be waited for. Only then
//! it detaches; whenever it wakes, and each half second at least, it asks whether a signal handler raised.
#![allow(unsafe_code)] // attaches while the interpreter finalises

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3::Borrowed;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tasuki::raw::{GaveUp, Wait, is_first_thread};

/// Asks whether a signal handler raised, from within a wait that has detached.
///
/// Also at the end of the interpreter, whose last objects may wait in a __del__. Any other thread that asks while it is
/// finalising never returns: older versions end it there, and pyo3 lets it sleep instead.
///
/// Handlers run in the main thread only, so that another one does not ask: it would have to wait for the interpreter
/// just to fall asleep, and while it waits, those who poll for what it is to take keep the interpreter busy.
pub fn check_signals() -> PyResult<()> {
    if MAIN_IS_FIRST.load(Ordering::Relaxed) && !is_first_thread() {
        return Ok(());
    }
    // SAFETY: this thread was attached when its wait began, so that the interpreter has a state for it.
    unsafe { Python::attach_unchecked(|py| py.check_signals()) }
}

/// Whether the interpreter's main thread is that of the process, as nearly always; then so it is in forked children.
static MAIN_IS_FIRST: AtomicBool = AtomicBool::new(false);

/// Called when the module is imported.
pub fn look_for_main_thread(py: Python<'_>) -> PyResult<()> {
    let main = py.import("threading")?.call_method0("main_thread")?;
    let id: Option<u32> = main.getattr("native_id")?.extract()?;
    MAIN_IS_FIRST.store(id == Some(std::process::id()), Ordering::Relaxed);
    Ok(())
}

/// The argument `block`: anything, of which only the truth counts, as in the standard library.
pub struct Blocking(pub bool);

impl<'a, 'py> FromPyObject<'a, 'py> for Blocking {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Blocking> {
        object.is_truthy().map(Blocking)
    }
}

/// What `block` and `timeout` of a call mean together.
#[derive(Clone, Copy)]
pub enum Timeout {
    /// Take what is there.
    None,
    /// Wait until then: one moment for all the waits of a call.
    Until(Instant),
    /// Wait as long as it takes.
    Forever,
}

impl Timeout {
    /// As the standard library reads them: `timeout` counts only when blocking, a negative one is zero.
    pub fn new(block: Blocking, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Timeout> {
        if !block.0 {
            return Ok(Timeout::None);
        }
        match timeout {
            None => Ok(Timeout::Forever),
            Some(timeout) => {
                let seconds: f64 = timeout.extract()?;
                if seconds > 0.0 {
                    let end = Duration::try_from_secs_f64(seconds)
                        .ok()
                        .and_then(|time| Instant::now().checked_add(time));
                    Ok(end.map_or(Timeout::Forever, Timeout::Until))
                } else {
                    Ok(Timeout::None)
                }
            }
        }
    }

    /// Whether there is to be no waiting.
    pub fn is_none(self) -> bool {
        matches!(self, Timeout::None)
    }

    /// Runs a waiting call of the engine without the interpreter. The error of a signal handler wins over the result,
    /// which loses nothing: an interrupted wait of the engine takes nothing.
    pub fn wait<R: Send>(
        self,
        py: Python<'_>,
        call: impl FnMut(&mut Wait<'_>) -> R + Send,
    ) -> PyResult<R> {
        self.wait_unless(py, || false, call)
    }

    /// Runs a step of the engine that waits for nothing but the end of another one's step, with the interpreter;
    /// without it if that one was stopped in the middle. On the error of a signal handler nothing was done.
    pub fn step<R: Send>(
        py: Python<'_>,
        mut call: impl FnMut(&mut Wait<'_>) -> Result<R, GaveUp> + Send,
    ) -> PyResult<R> {
        if let Ok(result) = call(&mut Wait::attempt()) {
            return Ok(result);
        }
        Timeout::Forever
            .wait(py, &mut call)?
            .map_err(|_| PyRuntimeError::new_err("a wait without end ended"))
    }

    /// As `step`, of what must be done whatever comes, as leaving a `with` block: handlers of signals run afterwards.
    pub fn last_step<R: Send>(
        py: Python<'_>,
        mut call: impl FnMut(&mut Wait<'_>) -> Result<R, GaveUp> + Send,
    ) -> PyResult<R> {
        if let Ok(result) = call(&mut Wait::attempt()) {
            return Ok(result);
        }
        py.detach(|| call(&mut Wait::forever()))
            .map_err(|_| PyRuntimeError::new_err("a wait without end ended"))
    }

    /// As `wait`; each time that signals are asked for, this is called off if there is `no_hope`.
    pub fn wait_unless<R: Send>(
        self,
        py: Python<'_>,
        mut no_hope: impl FnMut() -> bool + Send,
        mut call: impl FnMut(&mut Wait<'_>) -> R + Send,
    ) -> PyResult<R> {
        loop {
            if let Some(result) = self.wait_once(py, &mut no_hope, &mut call)? {
                return Ok(result);
            }
        }
    }

    /// As `wait_unless`. None: a signal handler forked, and returned in the child. What waits is the parent; as the
    /// child is in this call as well, it makes the call anew.
    pub fn wait_once<R: Send>(
        self,
        py: Python<'_>,
        mut no_hope: impl FnMut() -> bool + Send,
        call: impl FnOnce(&mut Wait<'_>) -> R + Send,
    ) -> PyResult<Option<R>> {
        let mut raised: Option<PyErr> = None;
        let (result, again) = py.detach(|| {
            let mut interrupted = || {
                raised = check_signals().err();
                raised.is_some() || no_hope()
            };
            let wait = match self {
                Timeout::None => Wait::now(),
                Timeout::Until(end) => Wait::until(end),
                Timeout::Forever => Wait::forever(),
            };
            let mut wait = wait.interruptible(&mut interrupted);
            let result = call(&mut wait);
            (result, wait.has_forked())
        });
        match raised {
            Some(error) => Err(error),
            None if again => Ok(None),
            None => Ok(Some(result)),
        }
    }
}
