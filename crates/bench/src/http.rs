//! HTTP/1.1 over one connection that stays open, with as little of its own as can be: what is
//! timed is the server.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{Outcome, nodes::Node};

/// A connection to a JSON-RPC server.
#[derive(Debug)]
pub struct KeepAlive {
    socket: BufReader<TcpStream>,
    head: String,
    request: Vec<u8>,
    answer: Vec<u8>,
    line: String,
}

impl KeepAlive {
    /// To `IP:PORT`; `login` is `user:password`.
    pub fn open(address: &str, login: Option<&str>) -> Outcome<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let login = login.map_or(String::new(), |login| {
            format!("Authorization: Basic {}\r\n", BASE64.encode(login))
        });
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\n{login}Content-Type: application/json\r\n"
        );
        let socket = BufReader::new(socket);
        Ok(Self { socket, head, request: vec![], answer: vec![], line: String::new() })
    }

    /// To a running node, by its cookie.
    pub fn to(node: &Node) -> Outcome<Self> {
        let address = node.process.rpc_address().ok_or("the node is gone")?;
        let cookie = std::fs::read_to_string(
            node.process.datadir().join(ashlar_rpc::run_file::COOKIE_FILE),
        )?;
        Self::open(&address, Some(cookie.trim_end()))
    }

    /// Sends a body; the body of the answer. A status other than 200 is an error.
    pub fn post(&mut self, body: &[u8]) -> Outcome<&[u8]> {
        self.request.clear();
        write!(self.request, "{}Content-Length: {}\r\n\r\n", self.head, body.len())?;
        self.request.extend_from_slice(body);
        self.socket.get_mut().write_all(&self.request)?;
        self.read_line()?;
        if self.line.split(' ').nth(1) != Some("200") {
            return Err(format!("the server answers {:?}", self.line).into());
        }
        let mut length: usize = 0;
        loop {
            self.read_line()?;
            match self.line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse()?;
                }
                Some(_) => {}
                None => break,
            }
        }
        self.answer.resize(length, 0);
        self.socket.read_exact(&mut self.answer)?;
        Ok(&self.answer)
    }

    fn read_line(&mut self) -> Outcome<()> {
        self.line.clear();
        match self.socket.read_line(&mut self.line)? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

/// A call as a body; `params` is a JSON list.
pub fn call(method: &str, params: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#).into_bytes()
}
