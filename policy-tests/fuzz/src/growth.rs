//! How the work of a function grows with its input, whatever the machine does beside it.

/// How much larger the larger input is.
pub const FACTOR: usize = 4;

/// Four times the input takes four times as long where work is linear and sixteen times where it is quadratic; n log n and caches
/// that are too small stay well below eight.
const MOST: u64 = 8;

/// Work of less than this cannot be measured, in nanoseconds.
const LEAST: u64 = 2_000_000;

/// How often both sizes are tried: the least of each counts, and the first time that is good ends it.
const TRIES: usize = 6;

/// Processor time of this thread in nanoseconds: other processes do not add to it. Linux brings the figure up to date when a thread
/// yields (proc(5), `schedstat`).
fn processor_time() -> u64 {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.expect("/proc/thread-self/schedstat (CONFIG_SCHED_INFO)")
}

fn took(work: &mut impl FnMut(usize), size: usize) -> u64 {
    let before = processor_time();
    work(size);
    processor_time() - before
}

/// Whether the work for [`FACTOR`] times the size is about that many times as much; `Err` says what it took. Work that is too
/// little to be measured is linear.
///
/// # Errors
/// The two times.
pub fn linear(small: usize, work: impl FnMut(usize)) -> Result<(), String> {
    at_most(MOST, small, small * FACTOR, work)
}

/// Whether the work for the large size is at most so many times that for the small one.
///
/// # Errors
/// The two times.
pub fn at_most(most: u64, small: usize, large: usize, mut work: impl FnMut(usize)) -> Result<(), String> {
    let (mut less, mut more) = (u64::MAX, u64::MAX);
    for _ in 0..TRIES {
        less = less.min(took(&mut work, small));
        more = more.min(took(&mut work, large));
        if more <= LEAST.max(less) * most {
            return Ok(());
        }
    }
    Err(format!(
        "size {small} takes {less} ns of processor time, size {large} {more} ns: more than {most} times as much"
    ))
}

#[cfg(test)]
mod tests {
    use super::linear;

    /// About `n` steps, which the compiler cannot leave out.
    fn steps(n: usize) -> u64 {
        (0..n as u64).fold(1, |sum, step| std::hint::black_box(sum ^ step).wrapping_mul(31))
    }

    #[test]
    fn linear_work_is_and_quadratic_work_is_not() {
        linear(1_000_000, |n| assert_ne!(steps(n), 0)).expect("linear");
        linear(1_000, |n| assert_ne!(steps(n * n), 0)).expect_err("quadratic");
    }
}
