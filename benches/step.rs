//! What one request costs in the proxy beside the kernel: the connection machine, timers, dispatch.

#![allow(missing_docs, reason = "a bench")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use hostler_driver::fake::FakeDriver;
use hostler_driver::{Buffer, Driver, Key, Pool, PoolClass};
use hostler_protocol::control::{
    IoChoice, PlainAddress, ProxySetup, Transport, Typed, WorkerAddress, WorkerId,
};
use hostler_protocol::http1::{RequestHead, ResponseHead};
use hostler_protocol::worker::StreamTag;
use hostler_proxy::Settings;
use hostler_proxy::clock::Now;
use hostler_proxy::conn::{Action, ClientAddress, Conn, Context, Event, Link, Phase, ResponseEnd};
use hostler_proxy::dispatch::{Dispatch, WorkerPhase};
use hostler_proxy::forward::Forwarding;
use hostler_proxy::request_id::RequestIds;
use hostler_proxy::stats::{Stats, WorkerGauge};
use hostler_proxy::timers::Wheel;
use hostler_proxy::worker::channel::Channel;

mod common;

use common::{BROWSER, NODE_ANSWER, TWO_FIELDS};

fn settings() -> Settings {
    let setup = ProxySetup {
        shards: 1,
        cores: vec![None],
        listeners: vec!["127.0.0.1:3000".into()],
        io: IoChoice::Epoll,
        conns_max: 64,
        worker_requests_max: 64,
        queue_requests_max: 64,
        queue_ms_max: 5_000,
        head_ms_max: 10_000,
        idle_ms_max: 75_000,
        client_silence_ms_max: 60_000,
        worker_silence_ms_max: 60_000,
        head_bytes_max: 16_384,
        body_bytes_max: None,
        access_log: None,
        log_json: false,
        typed: Typed::default(),
    };
    Settings::from_setup(&setup, 0)
}

/// One connection and the parts of a shard that serve it; the kernel is left out.
struct Rig {
    conn: Conn,
    channel: Channel,
    settings: Settings,
    pool: Pool,
    request_head: Box<RequestHead>,
    response_head: Box<ResponseHead>,
    actions: VecDeque<Action>,
    stats: Stats,
    ids: RequestIds,
    owners: Vec<u32>,
}

impl Rig {
    fn new() -> Self {
        let settings = settings();
        let (mut driver, net) = FakeDriver::new(&settings.driver_config()).expect("memory");
        let mut socket = |key| {
            let (fd, _peer) = net.pair().expect("a pair");
            driver.adopt(fd, Key(key)).expect("room")
        };
        let address = ClientAddress::new("192.0.2.1:4000".parse().expect("valid"));
        Self {
            conn: Conn::new(socket(0), address, 0, 0, Now::default()),
            channel: Channel::new(socket(1), 1, 0),
            pool: driver.pool().clone(),
            settings,
            request_head: Box::new(RequestHead::new()),
            response_head: Box::new(ResponseHead::new()),
            actions: VecDeque::new(),
            stats: Stats::default(),
            ids: RequestIds::new(1),
            owners: Vec::new(),
        }
    }

    fn received(&self, class: PoolClass, bytes: &[u8]) -> Buffer {
        let mut buffer = self.pool.take(class).expect("free");
        buffer.extend_from_slice(bytes);
        buffer.freeze()
    }

    fn step(&mut self, event: Event<'_>) {
        let mut cx = Context {
            now: Now { ms: 5, unix_ms: 1_700_000_000_000 },
            settings: &self.settings,
            pool: &self.pool,
            request_head: &mut self.request_head,
            response_head: &mut self.response_head,
            actions: &mut self.actions,
            stats: &mut self.stats,
            ids: &mut self.ids,
            log: None,
            draining: false,
        };
        self.conn.step(event, &mut cx);
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::WorkerHead => self.worker_head(),
                Action::Release(_) => self.conn.link = Link::None,
                _ => {}
            }
        }
    }

    fn worker_head(&mut self) {
        let forwarding = Forwarding {
            bytes: self.conn.head.as_ref().expect("kept").as_slice(),
            head: &self.request_head,
            client: &self.conn.address,
            listener: &self.settings.listeners[0],
            verbatim: false,
            listener_index: 0,
            request_id: self.conn.request.id.as_bytes(),
        };
        let tag = StreamTag { stream: 1, generation: self.conn.generation };
        let written = self.channel.write(&self.pool, |out| forwarding.write_frame(out, tag, false));
        written.expect("room");
    }

    /// From the request's bytes to the moment at which the answer has left.
    fn exchange(&mut self, request: &[u8], answers: &Buffer) {
        self.step(Event::Received(self.received(PoolClass::Head, request)));
        let batch = self.channel.batch();
        self.step(Event::Granted(Link::Stream { worker: 0, channel: 0, batch }));
        drop(black_box(self.channel.take()));
        self.channel.sent(&mut self.owners);
        let (range, end) = (0..answers.len(), ResponseEnd::End);
        self.step(Event::WorkerBytes { buffer: answers, range, end, scarce: false });
        drop(black_box(self.conn.outbox.take().expect("an answer")));
        self.step(Event::Sent);
        assert_eq!(self.conn.phase(), Phase::Idle);
    }
}

fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    for (name, request) in [("hello", TWO_FIELDS), ("browser", BROWSER)] {
        let mut rig = Rig::new();
        let answers = rig.received(PoolClass::Channel, NODE_ANSWER);
        group.bench_function(name, |bencher| {
            bencher.iter(|| rig.exchange(black_box(request), &answers));
        });
    }
    group.finish();
}

fn timers(criterion: &mut Criterion) {
    const TIMERS: u32 = 1_024;
    let mut group = criterion.benchmark_group("timers");
    group.bench_function("arm_later_and_wait", |bencher| {
        // What a request does: its deadline moves away from the wheel's entry.
        let mut wheel = Wheel::new(TIMERS);
        (0..TIMERS).for_each(|timer| wheel.arm(timer, 60_000));
        let mut deadline_ms = 60_000;
        bencher.iter(|| {
            deadline_ms += 1;
            wheel.arm(black_box(7), deadline_ms);
            wheel.wait_ms(0)
        });
    });
    group.bench_function("fire_and_arm_again", |bencher| {
        let mut wheel = Wheel::new(TIMERS);
        let mut now_ms = 0;
        (0..TIMERS).for_each(|timer| wheel.arm(timer, u64::from(timer) * 100));
        bencher.iter(|| {
            now_ms += 100;
            while let Some(timer) = wheel.expire(now_ms) {
                wheel.arm(timer, now_ms + u64::from(TIMERS) * 50);
            }
        });
    });
    group.finish();
}

fn choice(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dispatch_choose");
    for workers in [1, 4, 16] {
        let mut dispatch = Dispatch::new(Some(0), 4_096, 1_024);
        for number in 0..workers {
            let address = WorkerAddress {
                worker: WorkerId(number),
                app: "web".into(),
                slot: number,
                pid: number,
                core: Some(number),
                transport: Transport::Frames,
                plain: PlainAddress::Unix("/x".into()),
                plain_idle_ms_max: 4_000,
            };
            let index = dispatch.add(address, Arc::new(WorkerGauge::default()), 0);
            let worker = dispatch.get_mut(index).expect("added");
            worker.phase = WorkerPhase::Ready;
            worker.channel = Some(index);
            worker.gauge.begin();
        }
        group.bench_function(format!("{workers}_workers"), |bencher| {
            bencher.iter(|| {
                dispatch.choose(black_box(5), None, false, |_| true).expect("one is free")
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = exchanges, timers, choice
}
criterion_main!(benches);
