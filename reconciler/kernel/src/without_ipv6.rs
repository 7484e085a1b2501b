//! A kernel without a family answers a dump of it with what it has of all the others (`ipv6.disable=1`):
//! nothing of that may count for the family that was asked for. Tests only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use crate::link::Resolved;
use crate::netlink::{Requester, Wire};
use crate::wire::{Batch, HEADER_LEN, messages};
use crate::{address, route, rule};

/// Answers every dump with one IPv4 object.
#[derive(Debug, Default)]
struct WithoutIpv6 {
    answers: VecDeque<Vec<u8>>,
    answer: Vec<u8>,
}

impl Wire for WithoutIpv6 {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let asked = messages(bytes).next().expect("a message").expect("well-formed");
        let mut batch = Batch::default();
        let multi = libc::NLM_F_MULTI;
        match asked.kind {
            libc::RTM_GETADDR => batch.message(libc::RTM_NEWADDR, multi, |w| {
                w.raw(&[address::AF_INET, 24, 0, 0]);
                w.raw(&1_u32.to_ne_bytes());
                w.attribute(libc::IFA_LOCAL, &[192, 0, 2, 1]);
            }),
            libc::RTM_GETROUTE => batch.message(libc::RTM_NEWROUTE, multi, |w| {
                w.raw(&[
                    address::AF_INET,
                    0,
                    0,
                    0,
                    254,
                    libc::RTPROT_STATIC,
                    0,
                    libc::RTN_UNICAST,
                    0,
                    0,
                    0,
                    0,
                ]);
                w.u32(libc::RTA_OIF, 1);
                w.attribute(libc::RTA_GATEWAY, &[192, 0, 2, 254]);
            }),
            libc::RTM_GETRULE => batch.message(libc::RTM_NEWRULE, multi, |w| {
                w.raw(&[address::AF_INET, 0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0]);
            }),
            other => panic!("nobody asked for {other}"),
        }
        let done = u16::try_from(libc::NLMSG_DONE).expect("16 bits");
        batch.message(done, multi, |w| w.raw(&[0; 4]));
        let mut answer = batch.numbered(0, 2, asked.sequence, false).to_vec();
        // Both messages of a dump have the number of its question.
        let second =
            usize::try_from(u32::from_ne_bytes(answer[..4].try_into().expect("four"))).expect("small");
        let second = second.next_multiple_of(4) + HEADER_LEN - 8;
        answer[second..second + 4].copy_from_slice(&asked.sequence.to_ne_bytes());
        self.answers.push_back(answer);
        Ok(())
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        self.answer = self.answers.pop_front().ok_or(io::ErrorKind::TimedOut)?;
        Ok(&self.answer)
    }
}

#[test]
fn messages_of_another_family_count_once() {
    let links = BTreeMap::from([("eth0".to_owned(), Resolved { index: 1, kernel_name: "eth0".to_owned() })]);
    let mut socket = Requester::speaking(Box::new(WithoutIpv6::default()));
    let routes = route::observe(&mut socket, &links, &BTreeSet::new()).expect("observed");
    assert_eq!((routes.plain.len(), routes.others), (1, BTreeSet::new()));
    assert_eq!(address::observe(&mut socket, &links).expect("observed").len(), 1);
    assert_eq!(rule::observe(&mut socket).expect("observed").len(), 1);
}
