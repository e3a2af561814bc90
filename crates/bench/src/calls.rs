//! How many calls a second a node answers over connections that stay open, beside a server of the
//! same library whose one method says hello.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jsonrpsee::{RpcModule, server::Server};

use crate::{
    Outcome,
    http::{KeepAlive, call},
    nodes::{Net, processor_time},
    parts::Bench,
    payments::Payments,
    report::{Figure, Machine, Row},
    timing::median_of,
};

const PART: &str = "calls";

/// What a method may cost beside the trivial one (docs/performance.md).
const TARGET: f64 = 0.6;
/// Connections that ask at the same time.
const CONNECTIONS: usize = 4;
/// How long each question is asked in one round.
const WINDOW: Duration = Duration::from_secs(1);

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let (blocks, count) = (bench.scale.calls_blocks, bench.scale.payments_per_block);
    eprintln!("{PART}: making {blocks} blocks of {count} payments");
    let (mut payments, lead) = Payments::new(bench.seed, count);
    let made: Vec<_> = (0..blocks).map(|_| payments.block(count)).collect();
    let net = Net::new(bench.scratch()?, &Payments::genesis_text(count))?;
    let node = net.start("node", &["--profile", "default"].map(str::to_owned))?;
    node.submit(lead.iter().chain(&made))?;
    let last = made.last().ok_or("no block was made")?;
    let (id, txid) = (last.block.id(), last.block.transactions()[0].txid());
    let questions = [
        ("getblockheader", call("getblockheader", &format!(r#"["{id}"]"#))),
        ("gettxout, of the chain", call("gettxout", &format!(r#"["{txid}",1,false]"#))),
        ("gettxout, the mempool looked at", call("gettxout", &format!(r#"["{txid}",1]"#))),
    ];
    let trivial = Trivial::start()?;
    let hello = call("hello", "[]");
    // Answers a second, and microseconds of the server's processor time each.
    let mut found = vec![(Vec::new(), Vec::new()); questions.len() + 1];
    let window = if bench.scale.is_judged { WINDOW } else { WINDOW / 20 };
    for _ in 0..bench.scale.repeats {
        let open = || KeepAlive::open(&trivial.address, None);
        note(&mut found[0], trivial.child.id(), || rate(open, &hello, window))?;
        for ((_, question), found) in questions.iter().zip(&mut found[1..]) {
            let open = || KeepAlive::to(&node);
            note(found, node.process.id(), || rate(open, question, window))?;
        }
    }
    let load = Machine::here().load;
    let median = |values: &[f64]| median_of(values.iter().copied());
    let (hello, hello_micros) = &found[0];
    for ((name, _), (rates, micros)) in questions.iter().zip(&found[1..]) {
        let ratio = median_of(rates.iter().zip(hello).map(|(rate, hello)| rate / hello));
        let measured = Figure::new(median(rates), "calls/s");
        let (used, trivial) = (median(micros), median(hello_micros));
        let row = Row::new(PART, format!("{name}, {CONNECTIONS} open connections"), measured)
            .note(format!("processor time {used:.0} µs, trivial {trivial:.0} µs, load {load:.1}"))
            .against_paired(
                "a trivial method of the same library",
                Figure::new(median(hello), "calls/s"),
                ratio,
            );
        bench.report.push(if bench.scale.is_judged { row.at_least(TARGET) } else { row });
    }
    Ok(())
}

/// Takes down a rate, and what each answer cost the process that gave it.
fn note(
    (rates, micros): &mut (Vec<f64>, Vec<f64>),
    pid: u32,
    measure: impl FnOnce() -> Outcome<(f64, u32)>,
) -> Outcome<()> {
    let before = processor_time(pid)?;
    let (rate, answers) = measure()?;
    let used = processor_time(pid)?.saturating_sub(before);
    rates.push(rate);
    micros.push(used.as_secs_f64() * 1e6 / f64::from(answers.max(1)));
    Ok(())
}

/// Answers to one question, asked over all connections for so long: a second, and in all.
fn rate(
    open: impl Fn() -> Outcome<KeepAlive> + Sync,
    question: &[u8],
    window: Duration,
) -> Outcome<(f64, u32)> {
    let ask = || -> Outcome<(f64, u32)> {
        let mut connection = open()?;
        let answer = String::from_utf8_lossy(connection.post(question)?).into_owned();
        if !answer.contains("\"result\":") {
            return Err(format!("the question is answered {answer}").into());
        }
        let (start, mut answers) = (Instant::now(), 0_u32);
        while start.elapsed() < window {
            connection.post(question)?;
            answers += 1;
        }
        Ok((f64::from(answers) / start.elapsed().as_secs_f64(), answers))
    };
    thread::scope(|scope| {
        let asking: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask)).collect();
        let (mut rate, mut answers) = (0.0, 0);
        for one in asking {
            let one = one.join().map_err(|_| "an asking thread died")??;
            (rate, answers) = (rate + one.0, answers + one.1);
        }
        Ok((rate, answers))
    })
}

/// A server of its own process, as a node is one. Dropped, it is killed.
#[derive(Debug)]
struct Trivial {
    child: Child,
    address: String,
}

impl Trivial {
    fn start() -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("say-hello").stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        let output = child.stdout.take().ok_or("a child without output")?;
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self { child, address: address.trim_end().to_owned() })
    }
}

impl Drop for Trivial {
    fn drop(&mut self) {
        // An error says that it ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Serves `hello` until it is killed; its address on the standard output.
pub fn say_hello() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::builder().build("127.0.0.1:0").await?;
        let mut module = RpcModule::new(());
        module.register_method("hello", |_, (), _| "hello")?;
        println!("{}", server.local_addr()?);
        io::stdout().flush()?;
        server.start(module).stopped().await;
        Ok(())
    })
}
