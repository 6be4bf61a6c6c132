//! What is told at the end of an interval, and to whom (EDRA; D1HT 2006, §4).
//!
//! An event travels as a share of the ring: whoever is told it tells the peers from itself up to the point named with it,
//! each of its links a part. D1HT counts places instead, which must be the same to all and change with every coming and
//! going; a session to another peer each time would cost more than the event.

use core::time::Duration;

use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::question::Hold;
use polymorph_core::{Guid, Time};

use super::super::prefix::Peer;
use super::events::Heard;
use super::members::{PAGE, half};
use super::{Events, Joined, Left, Message, OneHop, Stage, Timer};

impl OneHop {
    /// How many steps an event takes at most: ρ.
    pub(super) fn rho(&self) -> u8 {
        self.members.len().max(2).next_power_of_two().ilog2() as u8
    }

    /// How far ahead a point is.
    pub(super) fn far(&self, at: u64) -> u64 {
        at.wrapping_sub(self.mine)
    }

    /// How long events are kept: so long that the wanted share of entries is stale, at the rate at which peers came and
    /// went lately. As FGCS 2015, equation 4, but a message takes no time that counts beside an interval: an event waits for
    /// half an interval Θ with whoever tells it first, and with each of ρ/2 on the way. Goings, half of all, are told
    /// first to whoever stands after, or noticed in three intervals: 3Θ/4 more on average. That is T = Θ(5 + ρ)/4, and of
    /// each entry there are two events in a stay S: f = 2T/S.
    pub(super) fn interval(&self, now: Time) -> Duration {
        let mut lately = self.rate.iter().filter(|at| now.since(**at) < LATELY).peekable();
        let span = lately.peek().map_or(0.0, |first| now.since(**first).as_secs_f64());
        let count = lately.count();
        if count < 4 || span <= 0.0 {
            return self.config.interval;
        }
        let events_per_s = count as f64 / span;
        let stay = 2.0 * self.members.len() as f64 / events_per_s;
        let theta = 2.0 * self.config.stale * stay / (5.0 + f64::from(self.rho()));
        Duration::from_secs_f64(theta.clamp(SHORTEST.as_secs_f64(), self.config.interval.as_secs_f64()))
    }

    pub(super) fn interval_over(&mut self, cx: &mut Context<'_, Self>) {
        let interval = self.interval(cx.now());
        let wait = cx.jitter(interval, 0.1);
        cx.set(Timer::Interval, wait);
        if self.members.len() <= 1 {
            return self.try_seed(cx);
        }
        self.tell_all(cx);
        self.compare_now_and_then(cx);
        // Nothing came from the peer before: it is asked, since this node is the one to tell of its going.
        let silent = cx.now().since(self.sign) > 2 * self.config.interval.min(2 * interval) + SHORTEST;
        if let Some(previous) = self.members.before(self.mine).filter(|_| silent) {
            self.suspect(previous.guid, cx);
        }
    }

    // Links.

    /// A link for each power of two stays as long as it is not much nearer or farther.
    fn relink(&mut self, cx: &mut Context<'_, Self>) {
        let places = (1..self.rho()).map(|level| 1_usize << level).filter(|ideal| *ideal < self.members.len());
        let link = |(index, ideal): (usize, usize)| {
            let near = (3 * ideal).div_ceil(4)..3 * ideal / 2;
            let is_near = |at: &u64| self.members.places(self.mine, *at).is_some_and(|places| near.contains(&places));
            let kept = self.links.get(index).copied().filter(is_near);
            kept.or_else(|| self.members.ahead(self.mine, ideal).map(|peer| peer.at))
        };
        self.links = places.enumerate().filter_map(link).collect();
        self.hold(cx);
    }

    /// Keeps the sessions with those beside this node and with its links open, and no others.
    pub(super) fn hold(&mut self, cx: &mut Context<'_, Self>) {
        let beside = [self.members.after(self.mine), self.members.before(self.mine)].into_iter().flatten();
        let links = self.links.iter().filter_map(|at| self.members.get(*at));
        let mut wanted: Vec<Guid> = beside.chain(links).map(|peer| peer.guid).collect();
        wanted.sort_unstable();
        wanted.dedup();
        self.held.iter().filter(|held| !wanted.contains(held)).for_each(|held| cx.unwant(*held));
        wanted.iter().filter(|guid| !self.held.contains(guid)).for_each(|guid| cx.want(*guid, Hold::Required));
        self.held = wanted;
    }

    // Telling.

    /// Tells the next peer and the links what each is to know; the next one also that there is nothing.
    pub(super) fn tell_all(&mut self, cx: &mut Context<'_, Self>) {
        self.relink(cx);
        let heard = core::mem::take(&mut self.heard);
        let links = self.links.iter().filter_map(|at| self.members.get(*at));
        let targets: Vec<Peer> = self.members.after(self.mine).into_iter().chain(links).collect();
        for (index, target) in targets.iter().enumerate() {
            let (from, to) = (self.far(target.at), targets.get(index + 1).map_or(u64::MAX, |next| self.far(next.at)));
            let mine = self.mine;
            let until = |reach: u64| (reach > from).then(|| half(mine.wrapping_add(reach.min(to))));
            if !self.tell_some(target.guid, &heard, until, cx) && index == 0 {
                let digest = self.is_settled(cx.now()).then(|| self.members.digest());
                // Whoever cannot be reached is missed by whoever stands after it.
                let _ = cx.send(target.guid, Message::Beat(digest));
            }
        }
        self.tell_the_newcomer(&heard, cx);
    }

    /// Who has just come is not known yet to all who would tell it, and whoever stands after it does.
    fn tell_the_newcomer(&mut self, heard: &Heard, cx: &mut Context<'_, Self>) {
        let on_the_way = u32::from(self.rho()) * self.interval(cx.now());
        self.fresh = self.fresh.filter(|(_, came)| cx.now().since(*came) < on_the_way);
        let before = self.members.before(self.mine);
        if let Some(before) = before.filter(|before| self.fresh.is_some_and(|(at, _)| at == before.at)) {
            self.tell_some(before.guid, heard, |_| Some(half(before.at)), cx);
        }
    }

    /// Tells somebody those events that it is to tell on up to some point; `false` if there are none.
    fn tell_some(
        &mut self,
        to: Guid,
        heard: &Heard,
        until: impl Fn(u64) -> Option<u32>,
        cx: &mut Context<'_, Self>,
    ) -> bool {
        let joined = heard.joined.iter().filter(|(peer, ..)| peer.guid != to);
        let joined =
            joined.filter_map(|&(peer, life, reach)| Some(Joined { peer: peer.guid, life, until: until(reach)? }));
        let left = heard.left.iter().filter_map(|&(at, life, reach)| Some(Left { at, life, until: until(reach)? }));
        let (joined, left): (Vec<_>, Vec<_>) = (joined.collect(), left.collect());
        let pages = joined.len().div_ceil(PAGE).max(left.len().div_ceil(MAX_LEFT));
        for page in 0..pages {
            let of = |len: usize, size: usize| (page * size).min(len)..((page + 1) * size).min(len);
            let joined = joined[of(joined.len(), PAGE)].to_vec();
            let left = left[of(left.len(), MAX_LEFT)].to_vec();
            self.tell(to, Events { joined, left }, cx);
        }
        pages > 0
    }

    fn tell(&mut self, to: Guid, events: Events, cx: &mut Context<'_, Self>) {
        let ticket = cx.call(to, Message::Events(events.clone()));
        if self.telling.len() == MAX_TELLING {
            self.telling.pop_front();
        }
        self.telling.push_back((ticket, events));
    }

    /// What was told with this question.
    pub(super) fn told(&mut self, ticket: Ticket) -> Option<Events> {
        let index = self.telling.iter().position(|(told, _)| *told == ticket)?;
        self.telling.remove(index).map(|(_, events)| events)
    }

    /// What somebody did not hear goes to the next peer after, who tells it on to the same.
    pub(super) fn tell_next(&mut self, after: Guid, mut events: Events, cx: &mut Context<'_, Self>) {
        let at = self.peer(after).at;
        let next = self.members.from(at.wrapping_add(1)).next();
        let next = next.filter(|next| self.far(next.at) > self.far(at) && self.stage == Stage::In);
        let Some(next) = next else { return };
        let reaches = |until: u32| self.far(u64::from(until) << 32) > self.far(next.at);
        events.joined.retain(|joined| reaches(joined.until));
        events.left.retain(|left| reaches(left.until));
        if !events.joined.is_empty() || !events.left.is_empty() {
            self.tell(next.guid, events, cx);
        }
    }
}

/// How many goings one message tells: as many bytes as a page of comings.
pub(super) const MAX_LEFT: usize = 256;
/// How many links there may be: one for each power of two below the most peers a table holds, and a few to spare.
pub(super) const MAX_LINKS: usize = 32;
/// How much that was told may be unconfirmed: two intervals' worth.
pub(super) const MAX_TELLING: usize = 64;
/// What is longer ago says nothing of the rate at which peers come and go now.
const LATELY: Duration = Duration::from_secs(300);
/// The shortest interval: less would be no batch.
const SHORTEST: Duration = Duration::from_secs(1);
