//! Connections over sockets: who listens, and who connects.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString, PyType};
use tasuki::raw::connection::{
    Address, AuthKey, ClientOptions, ConnectFailure, ListenerOptions, RawListener, StreamLimits,
};

use super::Connection;
use super::transport::{Transport, stream_failed};
use crate::errors;
use crate::open::Open;
use crate::waiting::Timeout;

/// A socket that listens; the Python class of this name has one.
#[pyclass(frozen, module = "tasuki._tasuki")]
pub struct Listener {
    raw: Open<RawListener>,
}

#[pymethods]
impl Listener {
    #[new]
    #[pyo3(signature = (address, backlog, authkey, handshake_timeout, max_message, message_timeout))]
    fn new(
        address: &Bound<'_, PyAny>,
        backlog: i32,
        authkey: Option<Vec<u8>>,
        handshake_timeout: Option<f64>,
        max_message: Option<u64>,
        message_timeout: Option<f64>,
    ) -> PyResult<Listener> {
        let options = ListenerOptions {
            backlog,
            authkey: authkey.map(AuthKey::from),
            handshake_timeout: handshake_timeout.map(seconds).transpose()?,
            limits: limits(max_message, message_timeout)?,
        };
        let raw = Open::empty();
        let made =
            raw.make(RawListener::bind(&to_address(address)?, options).map_err(errors::engine)?);
        debug_assert!(made.is_ok(), "it was empty");
        Ok(Listener { raw })
    }

    /// Waits for the next connection, of which `connection` becomes this end, and returns who is at the other one.
    fn accept<'py>(&self, connection: &Bound<'py, Connection>) -> PyResult<Bound<'py, PyAny>> {
        let py = connection.py();
        let raw = self.raw.enter().ok_or_else(closed)?;
        let accepted = raw.while_waiting(|| Timeout::Forever.wait(py, |wait| raw.accept(wait)))?;
        let (stream, peer) = accepted.map_err(|failure| connect_failed(py, failure))?;
        connection.get().adopt_transport(Transport::of_stream(stream), true, true)?;
        from_address(py, &peer)
    }

    /// Where it listens.
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_address(py, self.raw.enter().ok_or_else(closed)?.address())
    }

    /// Stops listening, and removes the socket's file.
    fn close(&self) {
        self.raw.close(|raw| {
            let _ = tasuki::raw::hang_up(raw.descriptor());
        });
    }
}

/// Connects to the listener at `address`, and makes `connection` this end of it.
#[pyfunction]
#[pyo3(signature = (connection, address, authkey, max_message, message_timeout))]
pub fn connect(
    connection: &Bound<'_, Connection>,
    address: &Bound<'_, PyAny>,
    authkey: Option<Vec<u8>>,
    max_message: Option<u64>,
    message_timeout: Option<f64>,
) -> PyResult<()> {
    let py = connection.py();
    let address = to_address(address)?;
    let limits = limits(max_message, message_timeout)?;
    let authkey = authkey.map(AuthKey::from);
    let options = ClientOptions { authkey, limits, ..ClientOptions::default() };
    let connected = Timeout::Forever
        .wait(py, |wait| tasuki::raw::connection::connect(&address, &options, wait))?;
    let stream = connected.map_err(|failure| connect_failed(py, failure))?;
    connection.get().adopt_transport(Transport::of_stream(stream), true, true)
}

pub fn limits(max_message: Option<u64>, message_timeout: Option<f64>) -> PyResult<StreamLimits> {
    Ok(StreamLimits { max_message, message_timeout: message_timeout.map(seconds).transpose()? })
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err("a time that is negative or not finite"))
}

fn closed() -> PyErr {
    PyOSError::new_err("listener is closed")
}

fn connect_failed(py: Python<'_>, failure: ConnectFailure) -> PyErr {
    static AUTHENTICATION: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match failure {
        ConnectFailure::Stream(error) => stream_failed(error),
        ConnectFailure::TooSlow(_) => PyTimeoutError::new_err(failure.to_string()),
        refused => {
            match AUTHENTICATION.import(py, "multiprocessing.context", "AuthenticationError") {
                Ok(class) => PyErr::from_type(class.clone(), (refused.to_string(),)),
                Err(error) => error,
            }
        }
    }
}

/// An address as the standard library has it: a path, a name that begins with NUL, or a host and a port.
fn to_address(address: &Bound<'_, PyAny>) -> PyResult<Address> {
    if let Ok((host, port)) = address.extract::<(String, u16)>() {
        return Ok(match host.parse::<IpAddr>() {
            Ok(ip) => Address::Inet((ip, port).into()),
            // What the system calls any address of this machine.
            Err(_) if host.is_empty() => Address::Inet(([0, 0, 0, 0], port).into()),
            Err(_) => Address::Host(host, port),
        });
    }
    let path = match address.cast::<PyBytes>() {
        Ok(bytes) => bytes.as_bytes().to_vec(),
        Err(_) => address.extract::<std::ffi::OsString>()?.into_vec(),
    };
    Ok(match path.split_first() {
        None => Address::Unnamed,
        Some((0, name)) => Address::Abstract(name.to_vec()),
        Some(_) => Address::Path(OsStr::from_bytes(&path).into()),
    })
}

fn from_address<'py>(py: Python<'py>, address: &Address) -> PyResult<Bound<'py, PyAny>> {
    Ok(match address {
        Address::Inet(inet) => (inet.ip().to_string(), inet.port()).into_pyobject(py)?.into_any(),
        Address::Path(path) => path.as_os_str().into_pyobject(py)?.into_any(),
        Address::Abstract(name) if !name.is_empty() => {
            PyBytes::new(py, &[&[0], name.as_slice()].concat()).into_any()
        }
        _ => PyString::new(py, "").into_any(),
    })
}
