//! One node's part of one tree.

use core::time::Duration;

use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::question::{Hold, Pass, Target, Verdict};
use polymorph_core::{Guid, Key};

use super::label::Label;
use super::links::Links;
use super::{Config, Join, Message, Scribe, Timer};

/// What a tree acts with.
pub(super) struct Means<'a, 'c> {
    pub(super) config: &'a Config,
    pub(super) links: &'a mut Links,
    pub(super) cx: &'a mut Context<'c, Scribe>,
}

impl Means<'_, '_> {
    /// A message that need not arrive: the next wave, or the lack of one, makes up for it.
    fn say(&mut self, to: Guid, message: Message) {
        let _ = self.cx.send(to, message);
    }

    fn set(&mut self, topic: Key, after: Duration) {
        let after = self.cx.jitter(after, JITTER);
        self.cx.set(Timer::Turn(topic), after);
    }

    /// How long a child at this depth waits for a newer wave. The nodes nearest to a break look for another parent
    /// first, and their waves come in time for those below, who would otherwise all take their trees apart at once.
    fn patience(&self, depth: u16) -> Duration {
        self.config.beat * PATIENCE_BEATS + RETRY * u32::from(depth.min(MAX_STEPS))
    }

    /// What the overlay below does with a message for this key.
    fn way(&self, topic: Key) -> Verdict {
        self.cx.below().map(|below| below.route(topic, 1).verdict).unwrap_or_default()
    }
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    /// It owns the topic's key.
    Root,
    /// It has a parent.
    Under { parent: Guid },
    /// It looks for a parent whose label beats the bar.
    Loose { tries: u8, bar: Option<Label> },
    /// It is not in the tree. What it told is remembered until nobody can still take it for its parent.
    Resting,
}

/// A child, or one that will be when it confirms.
#[derive(Debug)]
struct Child {
    peer: Guid,
    /// It confirmed: copies go to it.
    firm: bool,
    /// How many waves it did not answer.
    silent: u8,
}

/// One node's part of one tree.
#[derive(Debug)]
pub(super) struct Tree {
    topic: Key,
    subscribed: bool,
    stand: Stand,
    /// Where it stands, or stood last.
    label: Label,
    /// The best it ever told a child.
    told: Option<Label>,
    children: Vec<Child>,
    /// How many waves it made as the root this time, and the question whether others think it is.
    waves: u32,
    check: Option<Ticket>,
}

impl Tree {
    pub(super) fn new(topic: Key, me: Guid) -> Self {
        let label = Label::root(0, me);
        let (stand, told, children) = (Stand::Resting, None, Vec::new());
        Self { topic, subscribed: false, stand, label, told, children, waves: 0, check: None }
    }

    /// The tree and whom this node knows in it.
    pub(super) fn size(&self) -> usize {
        1 + self.children.len() + usize::from(self.parent().is_some())
    }

    pub(super) fn resting(&self) -> bool {
        self.stand == Stand::Resting
    }

    pub(super) fn parent(&self) -> Option<Guid> {
        if let Stand::Under { parent } = self.stand { Some(parent) } else { None }
    }

    pub(super) fn firm(&self) -> impl Iterator<Item = Guid> {
        self.children.iter().filter(|child| child.firm).map(|child| child.peer)
    }

    pub(super) fn label(&self) -> Option<Label> {
        matches!(self.stand, Stand::Root | Stand::Under { .. }).then_some(self.label)
    }

    pub(super) fn subscribe(&mut self, means: &mut Means<'_, '_>) {
        self.subscribed = true;
        if self.resting() {
            self.seek(0, self.told, means);
        }
    }

    pub(super) fn unsubscribe(&mut self, means: &mut Means<'_, '_>) {
        self.subscribed = false;
        self.prune(means);
    }

    /// The node leaves the overlay: its children look for another parent at once.
    pub(super) fn depart(&mut self, means: &mut Means<'_, '_>) {
        self.part(means);
        self.let_go(means);
    }

    /// A join on its way past this node.
    pub(super) fn intercept(&mut self, join: &mut Join, means: &mut Means<'_, '_>) -> Pass {
        match self.stand {
            // Not in the tree: the join goes on as this node's own.
            Stand::Resting => {
                self.adopt(join.child, means);
                let bar = [self.told, join.bar].into_iter().flatten().reduce(|a, b| if a.beats(&b) { a } else { b });
                self.stand = Stand::Loose { tries: 0, bar: self.told };
                means.set(self.topic, RETRY);
                let levels = join.levels.saturating_add(1);
                *join = Join { topic: self.topic, child: means.cx.me(), bar, levels, tries: join.tries };
                Pass::On
            }
            // It waits for a parent itself. Two who wait for each other would wait forever, so a child that waited
            // before goes on to somebody who does not.
            Stand::Loose { .. } if join.tries > PATIENT_TRIES => Pass::On,
            Stand::Loose { .. } => {
                if self.has_room_for(join.child, means) {
                    self.adopt(join.child, means);
                }
                Pass::Absorb
            }
            Stand::Root | Stand::Under { .. } if self.beats_bar(join) => {
                self.place(join, means);
                Pass::Absorb
            }
            Stand::Root | Stand::Under { .. } => Pass::On,
        }
    }

    /// A join reached this node as the owner of the topic.
    pub(super) fn own(&mut self, join: Join, means: &mut Means<'_, '_>) {
        if self.stand != Stand::Root {
            self.reign(join.bar.as_ref(), means);
        } else if !self.beats_bar(&join)
            && let Some(wave) = self.label.next_wave(join.bar.as_ref())
        {
            // Only this child needs the newer wave now; the others hear of the next.
            self.label.wave = wave;
        }
        if join.child != means.cx.me() && self.stand == Stand::Root && self.beats_bar(&join) {
            self.place(&join, means);
        }
    }

    /// A join came straight: a parent that is full hands a joiner down, or a root heard that this node is the owner.
    pub(super) fn handed(&mut self, from: Guid, join: Join, means: &mut Means<'_, '_>) {
        if self.parent() != Some(from) {
            if matches!(means.way(self.topic), Verdict::Deliver { .. }) {
                self.own(join, means);
            }
        } else if join.child != means.cx.me() && self.beats_bar(&join) {
            self.place(&join, means);
        }
    }

    /// Who owns the topic was looked up. A root that others do not take for one joins the one they do.
    pub(super) fn checked(&mut self, ticket: Ticket, owner: Option<Guid>, means: &mut Means<'_, '_>) {
        if self.check != Some(ticket) {
            return;
        }
        self.check = None;
        let me = means.cx.me();
        if let Some(owner) = owner.filter(|owner| *owner != me && self.stand == Stand::Root) {
            let (topic, bar) = (self.topic, self.told);
            self.stand = Stand::Loose { tries: 0, bar };
            means.set(topic, RETRY);
            // Straight, since the overlay below would still deliver it here.
            means.say(owner, Message::Join(Box::new(Join { topic, child: me, bar, levels: 0, tries: 0 })));
        }
    }

    /// Somebody says it is this node's parent.
    pub(super) fn wave(&mut self, from: Guid, told: Label, means: &mut Means<'_, '_>) {
        let bar = match self.stand {
            Stand::Under { parent } if parent == from => self.told,
            Stand::Loose { bar, .. } => bar,
            _ => return means.say(from, Message::Leave { topic: self.topic }),
        };
        let mine = told.deeper(1);
        if self.parent() == Some(from) && mine == Some(self.label) {
            return means.say(from, Message::Here { topic: self.topic });
        }
        let Some(mine) = mine.filter(|_| bar.is_none_or(|bar| told.beats(&bar))) else {
            if self.parent() == Some(from) {
                self.part(means);
                self.seek(0, self.told, means);
            } else {
                means.say(from, Message::Leave { topic: self.topic });
            }
            return;
        };
        if self.parent().is_none() {
            self.drop_child(from, means);
            means.links.hold(from, Hold::Required, means.cx);
        }
        self.stand = Stand::Under { parent: from };
        self.label = mine;
        means.say(from, Message::Here { topic: self.topic });
        means.cx.set(Timer::Turn(self.topic), means.patience(mine.depth));
        self.tell_all(means);
    }

    /// A child confirms.
    pub(super) fn here(&mut self, from: Guid, means: &mut Means<'_, '_>) {
        match self.children.iter_mut().find(|child| child.peer == from) {
            Some(child) => (child.firm, child.silent) = (true, 0),
            None => means.say(from, Message::Gone { topic: self.topic }),
        }
    }

    /// A child has another parent, or leaves.
    pub(super) fn left(&mut self, from: Guid, means: &mut Means<'_, '_>) {
        self.drop_child(from, means);
        self.prune(means);
    }

    /// The parent is that no longer.
    pub(super) fn gone(&mut self, from: Guid, means: &mut Means<'_, '_>) {
        if self.parent() == Some(from) {
            means.links.release(from, means.cx);
            self.seek(0, self.told, means);
        }
    }

    /// A peer is dead; its link is forgotten already.
    pub(super) fn lost(&mut self, peer: Guid, means: &mut Means<'_, '_>) {
        self.children.retain(|child| child.peer != peer);
        if self.parent() == Some(peer) {
            self.seek(0, self.told, means);
        }
        self.prune(means);
    }

    /// What this node owns below may have changed.
    pub(super) fn look_below(&mut self, means: &mut Means<'_, '_>) {
        let owner = matches!(means.way(self.topic), Verdict::Deliver { .. });
        match self.stand {
            Stand::Root if !owner => self.seek(0, self.told, means),
            Stand::Under { .. } if owner => self.reign(None, means),
            Stand::Loose { tries, bar } => self.seek(tries, bar, means),
            _ => {}
        }
    }

    /// The timer fired.
    pub(super) fn turn(&mut self, means: &mut Means<'_, '_>) {
        match self.stand {
            Stand::Root if matches!(means.way(self.topic), Verdict::Deliver { .. }) => {
                self.label.wave = self.label.wave.saturating_add(1);
                self.tell_all(means);
                means.set(self.topic, means.config.beat);
                if self.waves.is_multiple_of(CHECK_WAVES) {
                    self.check = Some(means.cx.lookup(Target::Key(self.topic), 1));
                }
                self.waves = self.waves.wrapping_add(1);
                self.prune(means);
            }
            Stand::Root => self.seek(0, self.told, means),
            // The parent is silent, or knows no more of the root than this node does.
            Stand::Under { .. } => {
                self.part(means);
                self.seek(0, Some(self.label.best()), means);
            }
            Stand::Loose { tries, .. } if tries >= MAX_TRIES => {
                // Nobody is good enough for what it once told: whoever relies on it is let go, then it is free.
                self.let_go(means);
                self.told = None;
                self.stand = Stand::Loose { tries: 0, bar: None };
                means.set(self.topic, RETRY);
                self.prune(means);
            }
            Stand::Loose { tries, bar } => self.seek(tries + 1, bar, means),
            Stand::Resting => {}
        }
    }

    /// Routes a join, unless the way leads nowhere yet or ends here. The node has no parent now.
    fn seek(&mut self, tries: u8, bar: Option<Label>, means: &mut Means<'_, '_>) {
        let way = means.way(self.topic);
        if matches!(way, Verdict::Deliver { .. }) {
            return self.reign(bar.as_ref(), means);
        }
        let tries = if way == Verdict::Unreachable { 0 } else { tries };
        self.stand = Stand::Loose { tries, bar };
        means.set(self.topic, RETRY * 2u32.pow(u32::from(tries).min(MAX_DOUBLINGS)));
        if way == Verdict::Forward {
            let join = Join { topic: self.topic, child: means.cx.me(), bar, levels: 0, tries };
            means.cx.route(Target::Key(self.topic), Message::Join(Box::new(join)));
        }
    }

    /// Becomes the root, in a wave that beats all that is known of.
    fn reign(&mut self, bar: Option<&Label>, means: &mut Means<'_, '_>) {
        let Some(wave) = self.label.next_wave(bar) else { return };
        self.part(means);
        self.stand = Stand::Root;
        (self.label, self.waves) = (Label::root(wave, means.cx.me()), 0);
        self.tell_all(means);
        means.set(self.topic, means.config.beat);
    }

    /// Leaves the parent, if there is one. What comes next is the caller's to say.
    fn part(&mut self, means: &mut Means<'_, '_>) {
        if let Stand::Under { parent } = self.stand {
            means.say(parent, Message::Leave { topic: self.topic });
            means.links.release(parent, means.cx);
            self.stand = Stand::Loose { tries: 0, bar: self.told };
        }
    }

    /// Leaves the tree when neither this node nor a child needs it.
    fn prune(&mut self, means: &mut Means<'_, '_>) {
        if self.subscribed || !self.children.is_empty() || self.resting() {
            return;
        }
        self.part(means);
        self.stand = Stand::Resting;
        means.set(self.topic, means.patience(MAX_STEPS) * 2);
    }

    /// Whether a joiner may stand below this node, with the nodes on the way in between.
    fn beats_bar(&self, join: &Join) -> bool {
        let told = self.label.deeper(join.levels);
        told.is_some_and(|told| join.bar.is_none_or(|bar| told.beats(&bar)))
    }

    fn has_room_for(&self, child: Guid, means: &Means<'_, '_>) -> bool {
        self.children.len() < means.config.children || self.children.iter().any(|c| c.peer == child)
    }

    /// Takes a joiner, or hands it to one of the children.
    fn place(&mut self, join: &Join, means: &mut Means<'_, '_>) {
        if self.has_room_for(join.child, means) {
            return self.adopt(join.child, means);
        }
        let firm: Vec<usize> = (0..self.children.len()).filter(|&at| self.children[at].firm).collect();
        if firm.is_empty() {
            return;
        }
        let at = firm[means.cx.pick(firm.len())];
        // Told first: it may not know yet the wave that beats the bar.
        self.tell(at, means);
        means.say(self.children[at].peer, Message::Join(Box::new(join.clone())));
    }

    fn adopt(&mut self, peer: Guid, means: &mut Means<'_, '_>) {
        let at = self.children.iter().position(|child| child.peer == peer).unwrap_or_else(|| {
            means.links.hold(peer, Hold::Required, means.cx);
            self.children.push(Child { peer, firm: false, silent: 0 });
            self.children.len() - 1
        });
        self.children[at].firm = false;
        if self.label().is_some() {
            self.tell(at, means);
        }
    }

    fn drop_child(&mut self, peer: Guid, means: &mut Means<'_, '_>) {
        if let Some(at) = self.children.iter().position(|child| child.peer == peer) {
            self.children.remove(at);
            means.links.release(peer, means.cx);
        }
    }

    /// Sends all children away.
    fn let_go(&mut self, means: &mut Means<'_, '_>) {
        for Child { peer, .. } in core::mem::take(&mut self.children) {
            means.say(peer, Message::Gone { topic: self.topic });
            means.links.release(peer, means.cx);
        }
    }

    /// Sends the wave on, and those away that did not answer the last ones.
    fn tell_all(&mut self, means: &mut Means<'_, '_>) {
        let (kept, silent) =
            core::mem::take(&mut self.children).into_iter().partition(|child| child.silent < SILENT_WAVES);
        self.children = silent;
        self.let_go(means);
        self.children = kept;
        (0..self.children.len()).for_each(|at| self.tell(at, means));
    }

    fn tell(&mut self, at: usize, means: &mut Means<'_, '_>) {
        let (topic, label) = (self.topic, self.label);
        let child = &mut self.children[at];
        child.silent += u8::from(means.cx.send(child.peer, Message::Wave { topic, label }).is_ok());
        self.told = Some(label);
    }
}

/// How much timers vary, so that trees do not beat in step.
const JITTER: f64 = 0.1;
/// How many beats a child waits for a newer wave: two may be lost or late.
const PATIENCE_BEATS: u32 = 3;
/// At how many depths patience differs.
const MAX_STEPS: u16 = 10;
/// How many waves pass between two times a root looks up whether it is the owner. The overlay below may have lost
/// sight of the true one, when that was flooded with joins for instance.
const CHECK_WAVES: u32 = 6;
/// How many waves a child may leave unanswered.
const SILENT_WAVES: u8 = 4;
/// How long a joiner waits for a parent the first time: a join up a deep tree and a wave down, with dials.
const RETRY: Duration = Duration::from_secs(3);
/// How often that is doubled: to 48 seconds.
const MAX_DOUBLINGS: u32 = 4;
/// How often a joiner may be taken by somebody who waits for a parent itself.
const PATIENT_TRIES: u8 = 1;
/// After how many tries a joiner gives up what it told: some five minutes, far beyond any honest repair.
const MAX_TRIES: u8 = 9;
