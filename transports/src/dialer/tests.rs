use super::*;
use crate::memory::{Hub, Memory};
use async_trait::async_trait;
use polymorph_core::Identity;
use polymorph_core::runtime::transport::Listener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// TCP and QUIC as a world of delays: an address answers after `port` milliseconds; port 0 never does; an odd port
/// fails instead.
#[derive(Debug)]
struct World {
    hub: Hub,
    me: Identity,
    tried: Mutex<Vec<(u64, TransportAddress)>>,
    running: AtomicUsize,
    most: AtomicUsize,
    begin: Instant,
}

struct Running<'a>(&'a World);

impl<'a> Running<'a> {
    fn enter(world: &'a World) -> Self {
        let now = world.running.fetch_add(1, Ordering::SeqCst) + 1;
        world.most.fetch_max(now, Ordering::SeqCst);
        Self(world)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Transport for World {
    fn handles(&self, address: &TransportAddress) -> bool {
        matches!(address, TransportAddress::Tcp(_) | TransportAddress::Quic(_))
    }

    async fn listen(&self, address: &TransportAddress) -> Result<Box<dyn Listener>, TransportError> {
        Err(TransportError::NoTransport(address.clone()))
    }

    async fn dial(
        &self,
        address: &TransportAddress,
        peer: Option<Guid>,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        let _running = Running::enter(self);
        self.tried.lock().unwrap().push((self.begin.elapsed().as_millis() as u64, address.clone()));
        let (TransportAddress::Tcp(at) | TransportAddress::Quic(at)) = address else { unreachable!() };
        match at.port() {
            0 => std::future::pending().await,
            port => tokio::time::sleep(Duration::from_millis(port.into())).await,
        }
        if at.port() % 2 == 1 {
            return Err(TransportError::Timeout(address.clone()));
        }
        let memory = Memory::new(&self.me, &self.hub);
        memory.dial(&TransportAddress::Memory("target".into()), peer).await
    }
}

struct Scene {
    world: Arc<World>,
    dialer: Dialer,
    target: Guid,
    _listener: Box<dyn Listener>,
}

async fn scene() -> Scene {
    let hub = Hub::new();
    let target = Identity::from_seed(&[2; 32]);
    let listener = Memory::new(&target, &hub).listen(&TransportAddress::Memory("target".into())).await.unwrap();
    let world = Arc::new(World {
        hub,
        me: Identity::from_seed(&[1; 32]),
        tried: Mutex::default(),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        begin: Instant::now(),
    });
    Scene { dialer: Dialer::new(vec![world.clone()]), world, target: target.guid(), _listener: listener }
}

impl Scene {
    async fn dial(&self, words: &[&str]) -> Result<Arc<dyn Connection>, DialError> {
        let addresses: Vec<_> = words.iter().map(|word| word.parse().unwrap()).collect();
        self.dialer.dial(&addresses, self.target).await
    }

    fn tried(&self) -> Vec<(u64, String)> {
        self.world.tried.lock().unwrap().iter().map(|(at, address)| (*at, address.to_string())).collect()
    }

    fn now(&self) -> u64 {
        self.world.begin.elapsed().as_millis() as u64
    }
}

#[tokio::test(start_paused = true)]
async fn a_fast_first_address_is_the_only_one_tried() {
    let scene = scene().await;
    let connection = scene.dial(&["quic://192.0.2.1:10", "tcp://192.0.2.1:200"]).await.unwrap();
    assert_eq!(connection.peer(), scene.target);
    assert_eq!(scene.tried(), [(0, "tcp://192.0.2.1:200".to_owned())]);
    assert_eq!(scene.now(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_costs_one_stagger_and_its_attempt_is_given_up() {
    let scene = scene().await;
    scene.dial(&["tcp://192.0.2.1:0", "quic://192.0.2.1:40"]).await.unwrap();
    assert_eq!(scene.now(), 250 + 40);
    assert_eq!(scene.world.running.load(Ordering::SeqCst), 0, "nothing goes on in the background");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_brings_the_next_at_once() {
    let scene = scene().await;
    scene.dial(&["tcp://192.0.2.1:31", "quic://192.0.2.1:40"]).await.unwrap();
    assert_eq!(scene.tried()[1], (31, "quic://192.0.2.1:40".to_owned()));
    assert_eq!(scene.now(), 31 + 40);
}

#[tokio::test(start_paused = true)]
async fn the_first_to_answer_wins_not_the_first_to_be_tried() {
    let scene = scene().await;
    scene.dial(&["tcp://192.0.2.1:1000", "tcp://[2001:db8::1]:20"]).await.unwrap();
    assert_eq!(scene.now(), 250 + 20);
}

#[tokio::test(start_paused = true)]
async fn the_preference_decides_who_begins() {
    let mut scene = scene().await;
    scene.dialer = scene.dialer.clone().prefer(Preference::Mobility);
    scene.dial(&["tcp://192.0.2.1:10", "quic://192.0.2.1:10"]).await.unwrap();
    assert_eq!(scene.tried(), [(0, "quic://192.0.2.1:10".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn the_time_is_bounded_and_so_is_the_number_of_attempts_at_once() {
    let scene = scene().await;
    let silent: Vec<_> = (1..=16).map(|host| format!("tcp://192.0.2.{host}:0")).collect();
    let error = scene.dial(&silent.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap_err();
    assert!(error.attempts.is_empty());
    assert_eq!(error.took, Pace::default().timeout);
    assert_eq!(scene.world.most.load(Ordering::SeqCst), Pace::default().parallel);
}

#[tokio::test(start_paused = true)]
async fn a_failure_tells_what_happened_at_each_address() {
    let scene = scene().await;
    let error = scene.dial(&["tcp://192.0.2.1:31", "mem:elsewhere", "quic://192.0.2.1:7"]).await.unwrap_err();
    assert_eq!(error.attempts.len(), 3);
    let text = error.to_string();
    assert!(text.contains("no transport for mem:elsewhere") && text.contains("tcp://192.0.2.1:31 did not answer"));
    assert!(scene.dial(&[]).await.unwrap_err().attempts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn somebody_else_at_an_address_is_passed_over() {
    let mut scene = scene().await;
    scene.target = Identity::from_seed(&[3; 32]).guid();
    let error = scene.dial(&["tcp://192.0.2.1:10"]).await.unwrap_err();
    assert!(matches!(error.attempts[0].1, TransportError::WrongPeer { .. }));
}
