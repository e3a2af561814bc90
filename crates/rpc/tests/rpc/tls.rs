//! TLS on the RPC port.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use ashlar_rpc::{
    ClientError, Credentials,
    client::{Way, open_websocket_by},
    prelude::*,
    server::{ServerConfig, StartError, TlsError, TlsFiles, start_server},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer},
};

use crate::{doors::AUTHORIZATION, fake::Fake, running::start_with};

const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate for localhost that signs itself, in files.
fn files(directory: &Path) -> (TlsFiles, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files =
        TlsFiles { certificate: directory.join("cert.pem"), key: directory.join("key.pem") };
    fs::write(&files.certificate, made.cert.pem()).unwrap();
    fs::write(&files.key, made.key_pair.serialize_pem()).unwrap();
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
    (files, made.cert.der().clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_through_tls_and_this_machines_programs_may_do_without() {
    let directory = tempfile::tempdir().unwrap();
    let (files, certificate) = files(directory.path());
    let running = start_with(Fake::new(), |config| config.tls = Some(files)).await;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(running.at()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut socket = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"getblockcount"}"#;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\n{AUTHORIZATION}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"result\":0"), "{answer}");
    // The node's own tools, on this machine.
    assert_eq!(running.client().getblockcount().await.unwrap(), 0);
    // Nonsense after a good first byte ends, and nothing else does.
    let mut socket = TcpStream::connect(running.at()).await.unwrap();
    socket.write_all(&[22, 3, 1, 0xff, 0xff, 0, 1]).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    drop(socket.read_to_end(&mut rest).await);
    assert_eq!(running.client().getblockcount().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_goes_through_tls_to_the_node_that_the_file_vouches_for() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = files(directory.path());
    let authority = files.certificate.clone();
    let running = start_with(Fake::new(), |config| config.tls = Some(files)).await;
    let address = format!("wss://localhost:{}", running.server.local_addr().port());
    let cookie = Credentials::Cookie(running.cookie_file.clone());
    let way = Way::new(&address, Some(&authority)).unwrap();
    let client = open_websocket_by(&way, &cookie).await.unwrap();
    assert_eq!(client.getblockcount().await.unwrap(), 0);
    let mut tips = client.subscribetips(None).await.unwrap();
    let first = timeout(PATIENCE, tips.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.at.tip_height, 0);
    let block = running.node.mine_on(None);
    let event = timeout(PATIENCE, tips.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(event.at.tip.0, block);

    // Somebody else's certificate opens nothing, and a stranger is not let in through TLS either.
    let other = tempfile::tempdir().unwrap();
    let (other, _) = self::files(other.path());
    let stranger = Way::new(&address, Some(&other.certificate)).unwrap();
    let error = open_websocket_by(&stranger, &cookie).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    let error = open_websocket_by(&way, &Credentials::None).await.unwrap_err();
    assert!(matches!(error, ClientError::Unauthorised), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_no_use_are_named_and_an_open_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (good, _) = files(directory.path());
    let start = async |tls: &TlsFiles| {
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: Some(tls.clone()),
            ..ServerConfig::new(directory.path().join(".cookie"))
        };
        match start_server(config, Fake::new()).await {
            Err(StartError::Tls(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let missing = TlsFiles { certificate: directory.path().join("none.pem"), ..good.clone() };
    assert!(matches!(start(&missing).await, TlsError::Pem { .. }));
    let swapped = TlsFiles { certificate: good.key.clone(), key: good.certificate.clone() };
    assert!(matches!(start(&swapped).await, TlsError::NoCertificate { .. }));
    fs::set_permissions(&good.key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = start(&good).await;
    assert!(error.to_string().contains("chmod 600"), "{error}");
    let other = tempfile::tempdir().unwrap();
    let (other, _) = files(other.path());
    let mixed = TlsFiles { key: other.key, ..good.clone() };
    assert!(matches!(start(&mixed).await, TlsError::Unfit { .. }));
    // The cookie of nobody was written.
    assert!(!directory.path().join(".cookie").exists());
}
