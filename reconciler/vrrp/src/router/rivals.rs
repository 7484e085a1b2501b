//! Which other Masters are heard beside us, and until when each counts as there.
//!
//! Memory only: what follows from a rival's coming and going is the state machine's.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

/// Rivals that are remembered. There is hardly ever a second one, and addresses can be invented.
const MOST: usize = 8;

/// The rivals of a Master: an episode each, from its first advertisement until it has been silent for as long
/// as a Backup of its would wait.
#[derive(Debug, Default, Clone)]
pub(super) struct Rivals {
    episodes: Vec<Episode>,
}

#[derive(Debug, Clone)]
struct Episode {
    rival: IpAddr,
    began: MonoTime,
    heard: MonoTime,
    /// Silence that ends it.
    quiet: Duration,
}

impl Episode {
    fn ends(&self) -> MonoTime {
        self.heard + self.quiet
    }
}

impl Rivals {
    /// A rival was heard. Returns whether that begins an episode.
    pub(super) fn heard(&mut self, rival: IpAddr, quiet: Duration, now: MonoTime) -> bool {
        if let Some(episode) = self.episodes.iter_mut().find(|episode| episode.rival == rival) {
            episode.heard = now;
            episode.quiet = quiet;
            return false;
        }
        let begins = self.episodes.len() < MOST;
        if begins {
            self.episodes.push(Episode { rival, began: now, heard: now, quiet });
        }
        begins
    }

    /// For how long a rival has been heard without a silence that ends its episode.
    pub(super) fn lasts(&self, rival: IpAddr, now: MonoTime) -> Duration {
        let episode = self.episodes.iter().find(|episode| episode.rival == rival && now < episode.ends());
        episode.map_or(Duration::ZERO, |episode| now.since(episode.began))
    }

    /// Time at which the next episode ends unless its rival is heard again.
    pub(super) fn next_end(&self) -> Option<MonoTime> {
        self.episodes.iter().map(Episode::ends).min()
    }

    /// A rival whose episode has ended; it is forgotten.
    pub(super) fn take_ended(&mut self, now: MonoTime) -> Option<IpAddr> {
        let index = self.episodes.iter().position(|episode| episode.ends() <= now)?;
        Some(self.episodes.remove(index).rival)
    }

    /// We have not listened: that nothing was heard says nothing, so each silence begins again.
    pub(super) fn was_deaf(&mut self, now: MonoTime) {
        for episode in &mut self.episodes {
            episode.heard = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const QUIET: Duration = Duration::from_secs(3);

    fn rival(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_millis(secs * 1000)
    }

    #[test]
    fn an_episode_lasts_until_its_rival_is_silent() {
        let mut rivals = Rivals::default();
        assert!(rivals.heard(rival(1), QUIET, at(1)));
        assert!(rivals.heard(rival(2), QUIET, at(2)));
        assert!(!rivals.heard(rival(1), QUIET, at(3)));
        assert_eq!((rivals.next_end(), rivals.take_ended(at(4))), (Some(at(5)), None));
        assert_eq!((rivals.take_ended(at(5)), rivals.take_ended(at(5))), (Some(rival(2)), None));
        rivals.was_deaf(at(9));
        assert_eq!((rivals.take_ended(at(11)), rivals.next_end()), (None, Some(at(12))));
        assert_eq!(rivals.take_ended(at(12)), Some(rival(1)));
        assert!(rivals.heard(rival(1), QUIET, at(13)), "again, after its end");
    }

    #[test]
    fn the_silence_is_that_of_the_last_advert() {
        let mut rivals = Rivals::default();
        rivals.heard(rival(1), QUIET, at(1));
        rivals.heard(rival(1), QUIET * 5, at(2));
        assert_eq!(rivals.next_end(), Some(at(17)));
    }

    #[test]
    fn invented_rivals_take_bounded_memory() {
        let mut rivals = Rivals::default();
        let begun = (0..10_000).filter(|n| rivals.heard(rival(*n), QUIET, at(1))).count();
        assert_eq!((begun, rivals.episodes.len()), (MOST, MOST));
    }
}
