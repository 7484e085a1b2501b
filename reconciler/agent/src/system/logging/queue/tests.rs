//! The queue before pipes and files that take all, little, or nothing.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::*;

/// Longest wait for anything that must happen.
const LONG: Duration = Duration::from_secs(30);
/// Length of a wait that must end without its event.
const SHORT: Duration = Duration::from_millis(100);

fn queue() -> Arc<Queue> {
    Arc::new(Queue::new())
}

/// A pipe that takes 4096 bytes.
fn small_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().expect("pipe");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).expect("a small pipe");
    (reader, writer)
}

/// A pipe that takes nothing more.
pub(in crate::system::logging) fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = small_pipe();
    writer.write_all(&[b'x'; 4096]).expect("room");
    (reader, writer)
}

/// Reads from a pipe until a line has this text.
fn read_until(reader: &mut PipeReader, what: &str) -> String {
    let mut text = Vec::new();
    let mut some = [0; 4096];
    while !String::from_utf8_lossy(&text).contains(what) {
        let length = reader.read(&mut some).expect("read");
        assert!(length > 0, "ended before {what}");
        text.extend_from_slice(some.get(..length).expect("in the buffer"));
    }
    String::from_utf8(text).expect("UTF-8")
}

/// Waits until the status is as asked for.
fn wait(queue: &Queue, is_so: impl Fn(&LogStatus) -> bool) -> LogStatus {
    let until = clock::now() + LONG;
    loop {
        let status = queue.status();
        if is_so(&status) {
            return status;
        }
        assert!(clock::now() < until, "{status:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lines without the time of those about dropped lines.
fn without_times(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.find("WARN").map_or(line, |at| &line[at..])).collect()
}

#[test]
fn lines_come_out_in_their_order_and_whole() {
    let (mut reader, writer) = pipe().expect("pipe");
    let queue = queue();
    queue.push(b"before there was a writer\n");
    queue.write_to(writer).expect("a thread");
    for n in 0..1000 {
        queue.push(format!("line {n}").as_bytes());
    }
    let reading = std::thread::spawn(move || read_until(&mut reader, "line 999\n"));
    queue.flush(Some(LONG));
    let text = reading.join().expect("read");
    let wanted: Vec<String> = std::iter::once("before there was a writer".to_owned())
        .chain((0..1000).map(|n| format!("line {n}")))
        .collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
    assert_eq!(queue.status(), LogStatus::default());
}

#[test]
fn a_stopped_reader_delays_nobody_and_a_gap_is_reported_in_its_place() {
    let (mut reader, writer) = small_pipe();
    let queue = queue();
    queue.write_to(writer).expect("a thread");
    let line = [b'x'; 99];
    let begun = clock::now();
    let count = 2 * CAPACITY / 100;
    for _ in 0..count {
        queue.push(&line);
    }
    assert!(begun.until(clock::now()) < LONG, "pushing waited");
    queue.flush(Some(SHORT));
    let status = wait(&queue, |status| status.problem.is_some());
    assert!(status.problem.as_deref().is_some_and(|why| why.starts_with("it has taken no line for")));
    assert!(status.dropped > 0 && status.dropped < count as u64, "{status:?}");

    // The reader reads again: all lines that waited come, then the number of missing ones, then the new one.
    let reading = std::thread::spawn(move || read_until(&mut reader, "new\n"));
    wait(&queue, |status| status.problem.is_none());
    queue.flush(Some(LONG));
    queue.push(b"new");
    let text = reading.join().expect("read");
    let lines = without_times(&text);
    let told = format!("WARN {} lines of the log were dropped: their reader did not keep up", status.dropped);
    assert_eq!(lines.last(), Some(&"new"));
    assert_eq!(lines.iter().filter(|line| line.starts_with("WARN")).collect::<Vec<_>>(), [&told]);
    let whole = lines.iter().filter(|line| line.len() == 99).count();
    assert_eq!(whole as u64 + status.dropped, count as u64);
    assert_eq!(queue.status(), LogStatus { dropped: status.dropped, problem: None });
}

#[test]
fn a_slow_reader_gets_one_line_for_each_gap() {
    let (mut reader, writer) = small_pipe();
    let queue = queue();
    queue.write_to(writer).expect("a thread");
    let line = [b'x'; 99];
    // Ten lines for each that is read.
    let mut read = String::new();
    let mut buffer = [0; 100];
    for _ in 0..2 * CAPACITY / 100 {
        (0..10).for_each(|_| queue.push(&line));
        let length = reader.read(&mut buffer).expect("read");
        read += &String::from_utf8_lossy(buffer.get(..length).expect("in the buffer"));
    }
    let told = read.lines().filter(|line| line.contains("WARN")).count();
    assert!((1..=4).contains(&told), "{told} words about gaps");
}

#[test]
fn the_memory_of_a_queue_is_bounded_and_given_back() {
    let (mut reader, writer) = small_pipe();
    let queue = queue();
    queue.write_to(writer).expect("a thread");
    for _ in 0..100 {
        queue.push(&[b'x'; CAPACITY / 10]);
    }
    let most = queue.lock().waiting.capacity();
    assert!((CAPACITY / 2..=4 * CAPACITY).contains(&most), "{most}");
    let reading = std::thread::spawn(move || read_until(&mut reader, "WARN"));
    queue.flush(Some(LONG));
    reading.join().expect("read");
    let until = clock::now() + LONG;
    while queue.lock().waiting.capacity() > KEEP {
        assert!(clock::now() < until, "it keeps {}", queue.lock().waiting.capacity());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_line_that_is_longer_than_the_queue_costs_itself_and_no_other() {
    let (mut reader, writer) = pipe().expect("pipe");
    let queue = queue();
    queue.write_to(writer).expect("a thread");
    queue.push(&vec![b'x'; CAPACITY + 1]);
    let text = read_until(&mut reader, "\n");
    assert_eq!(without_times(&text), ["WARN 1 line of the log was dropped: their reader did not keep up"]);
    queue.push(b"after it");
    assert_eq!(read_until(&mut reader, "\n"), "after it\n");
    // A line that is longer than what is written at once comes whole.
    let long = format!("{}\n", "y".repeat(3 * PIECE));
    queue.push(long.as_bytes());
    assert_eq!(read_until(&mut reader, "\n"), long);
}

#[test]
fn a_closed_pipe_costs_lines_and_nothing_else() {
    let (reader, writer) = pipe().expect("pipe");
    drop(reader);
    let queue = queue();
    queue.write_to(writer).expect("a thread");
    for _ in 0..3 {
        queue.push(b"nobody will read it");
        queue.flush(Some(LONG));
    }
    let status = queue.status();
    assert_eq!(status.dropped, 3);
    assert_eq!(status.problem.as_deref(), Some("Broken pipe"));
}

/// Output that takes nothing until it is mended.
struct Mended {
    broken: File,
    whole: PipeWriter,
    is_whole: Arc<AtomicBool>,
}

impl AsFd for Mended {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.is_whole.load(Ordering::SeqCst) { self.whole.as_fd() } else { self.broken.as_fd() }
    }
}

fn mended(broken: File) -> (Arc<Queue>, PipeReader, Arc<AtomicBool>) {
    let (reader, whole) = pipe().expect("pipe");
    let is_whole = Arc::new(AtomicBool::new(false));
    let queue = queue();
    queue.write_to(Mended { broken, whole, is_whole: Arc::clone(&is_whole) }).expect("a thread");
    (queue, reader, is_whole)
}

#[test]
fn a_full_disk_costs_lines_and_their_number_is_logged_when_there_is_room() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let (queue, mut reader, is_whole) = mended(full);
    for _ in 0..5 {
        queue.push(b"one\ntwo");
        queue.flush(Some(LONG));
    }
    let problem = Some("No space left on device".to_owned());
    assert_eq!(queue.status(), LogStatus { dropped: 10, problem });
    is_whole.store(true, Ordering::SeqCst);
    queue.push(b"three");
    queue.push(b"four");
    assert_eq!(
        without_times(&read_until(&mut reader, "four\n")),
        ["WARN 10 lines of the log were dropped: No space left on device", "three", "four"]
    );
    queue.flush(Some(LONG));
    assert_eq!(queue.status(), LogStatus { dropped: 10, problem: None });
}

#[test]
fn after_half_a_line_the_next_one_begins_on_a_line_of_its_own() {
    // Two thirds of the second line fit.
    let limited = File::from(memfd_create(c"log", MFdFlags::MFD_ALLOW_SEALING).expect("memfd"));
    limited.set_len(4096).expect("a length");
    fcntl(&limited, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW)).expect("a seal");
    let (queue, mut reader, is_whole) = mended(limited);
    for _ in 0..2 {
        queue.push(&[b'x'; 2499]);
        queue.flush(Some(LONG));
    }
    assert_eq!(queue.status().dropped, 1);
    is_whole.store(true, Ordering::SeqCst);
    queue.push(b"whole");
    let text = read_until(&mut reader, "whole\n");
    assert!(text.starts_with('\n'), "{text}");
    assert_eq!(without_times(&text).get(2), Some(&"whole"));
}

/// A process that shares the terminal or the pipe may have set it so.
#[test]
fn output_that_must_not_be_waited_for_is_waited_for() {
    let (mut reader, writer) = small_pipe();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("flags");
    let queue = queue();
    queue.write_to(writer).expect("a thread");
    for n in 0..500 {
        queue.push(format!("{n:0>99}").as_bytes());
    }
    queue.flush(Some(SHORT));
    let text = read_until(&mut reader, "499\n");
    assert_eq!(text.lines().count(), 500);
    assert_eq!(queue.status(), LogStatus::default());
}

#[test]
fn the_end_waits_within_its_limit_and_not_at_all_without_a_writer() {
    let queue = queue();
    queue.push(b"a line");
    queue.flush(None);
    let (_reader, writer) = small_pipe();
    queue.write_to(writer).expect("a thread");
    (0..100).for_each(|_| queue.push(&[b'x'; 99]));
    let begun = clock::now();
    queue.flush(Some(SHORT));
    let took = begun.until(clock::now());
    assert!(took >= SHORT && took < LONG, "{took:?}");
}
