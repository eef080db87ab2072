//! From the policy to classic BPF.

use super::policy::{self, Check};
use crate::sys::privilege::Instruction;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the seccomp policy knows the calls of x86_64 only");

/// `AUDIT_ARCH_X86_64` (uapi linux/audit.h).
const ARCH: u32 = 0xC000_003E;
/// First number of the x32 table.
const X32: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const ALLOW: u32 = 0x7FFF_0000;
const ERRNO: u32 = 0x0005_0000;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// What is done with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Allow,
    Refuse(i32),
    Check(Check),
}

/// The filter of every container.
pub fn program() -> Vec<Instruction> {
    let mut program = vec![
        load(ARCHITECTURE),
        // The 32-bit entry (int 0x80) reaches socketcall(2) and others by numbers of its own: refused whole.
        jump(JUMP_EQUAL, ARCH, 1, 0),
        refuse(libc::ENOSYS),
        load(NUMBER),
        jump(JUMP_AT_LEAST, X32, 0, 1),
        refuse(libc::ENOSYS),
    ];
    program.extend(tree(&ranges()));
    program
}

/// The call numbers from 0 on in runs that are treated alike: (first number, action).
fn ranges() -> Vec<(u32, Action)> {
    let mut actions = vec![Action::Refuse(libc::ENOSYS); 1024];
    for number in policy::ALLOWED {
        actions[*number as usize] = Action::Allow;
    }
    for number in policy::REFUSED {
        actions[*number as usize] = Action::Refuse(libc::EPERM);
    }
    for (number, check) in policy::CHECKED {
        actions[*number as usize] = Action::Check(*check);
    }
    let mut ranges: Vec<(u32, Action)> = Vec::new();
    for (number, action) in actions.into_iter().enumerate() {
        if ranges.last().is_none_or(|(_, last)| *last != action) {
            ranges.push((number as u32, action));
        }
    }
    ranges
}

fn tree(ranges: &[(u32, Action)]) -> Vec<Instruction> {
    if let [(_, action)] = ranges {
        return leaf(*action);
    }
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let middle = right[0].0;
    let (left, right) = (tree(left), tree(right));
    let mut out = match u8::try_from(left.len()) {
        Ok(length) => vec![jump(JUMP_AT_LEAST, middle, length, 0)],
        // A conditional jump reaches 255 instructions; beyond, it jumps to or past a far jump.
        Err(_) => vec![jump(JUMP_AT_LEAST, middle, 0, 1), far(left.len())],
    };
    out.extend(left);
    out.extend(right);
    out
}

fn leaf(action: Action) -> Vec<Instruction> {
    match action {
        Action::Allow => vec![allow()],
        Action::Refuse(errno) => vec![refuse(errno)],
        Action::Check(check) => match check {
            Check::CloneWithoutNamespaces => vec![
                load(argument(0)),
                jump(JUMP_ANY_BIT, policy::NAMESPACE_FLAGS, 0, 1),
                refuse(libc::EPERM),
                allow(),
            ],
            Check::Socket => socket(),
            Check::SocketPair => {
                vec![
                    load(argument(0)),
                    jump(JUMP_EQUAL, libc::AF_UNIX as u32, 0, 1),
                    allow(),
                    refuse(libc::EPERM),
                ]
            }
            Check::NotThese(index, values) => one_of(index, values, refuse(libc::EPERM), allow()),
            Check::OnlyThese(index, values) => one_of(index, values, allow(), refuse(libc::EPERM)),
        },
    }
}

/// Answers `yes` where the argument is one of the values, else `no`.
fn one_of(index: u32, values: &[u32], yes: Instruction, no: Instruction) -> Vec<Instruction> {
    let mut out = vec![load(argument(index))];
    for (at, value) in values.iter().enumerate() {
        out.push(jump(JUMP_EQUAL, *value, (values.len() - at) as u8, 0));
    }
    out.extend([no, yes]);
    out
}

/// UNIX: any. INET, INET6: streams and datagrams of TCP, UDP and ICMP echo. NETLINK: ROUTE. No other family.
fn socket() -> Vec<Instruction> {
    let mut inet = vec![
        load(argument(1)),
        instruction(AND, 0, 0, 0xF), // without SOCK_NONBLOCK, SOCK_CLOEXEC
        jump(JUMP_EQUAL, libc::SOCK_STREAM as u32, 2, 0),
        jump(JUMP_EQUAL, libc::SOCK_DGRAM as u32, 1, 0),
        refuse(libc::EPERM),
    ];
    // A protocol that is not there: what programs that try MPTCP first take as a sign to use TCP.
    inet.extend(one_of(2, policy::INET_PROTOCOLS, allow(), refuse(libc::EPROTONOSUPPORT)));
    let netlink = one_of(2, &[libc::NETLINK_ROUTE as u32], allow(), refuse(libc::EPERM));
    let to_netlink = inet.len() as u8 + 2;
    let mut out = vec![
        load(argument(0)),
        jump(JUMP_EQUAL, libc::AF_INET as u32, 4, 0),
        jump(JUMP_EQUAL, libc::AF_INET6 as u32, 3, 0),
        jump(JUMP_EQUAL, libc::AF_NETLINK as u32, to_netlink, 0),
        jump(JUMP_EQUAL, libc::AF_UNIX as u32, 0, 0),
        refuse(libc::EPERM),
    ];
    out[4] = jump(JUMP_EQUAL, libc::AF_UNIX as u32, to_netlink + netlink.len() as u8 - 1, 0);
    out.extend(inet);
    out.extend(netlink);
    out.push(allow());
    out
}

/// The low half of an argument: every checked argument is an `int` or `unsigned` to the kernel, which ignores the rest.
fn argument(index: u32) -> u32 {
    ARGUMENTS + 8 * index
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn load(offset: u32) -> Instruction {
    instruction(LOAD, 0, 0, offset)
}

fn jump(code: u16, value: u32, yes: u8, no: u8) -> Instruction {
    instruction(code, yes, no, value)
}

fn far(distance: usize) -> Instruction {
    instruction(JUMP, 0, 0, distance as u32)
}

fn allow() -> Instruction {
    instruction(RETURN, 0, 0, ALLOW)
}

fn refuse(errno: i32) -> Instruction {
    instruction(RETURN, 0, 0, ERRNO | errno as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs the program as the kernel would; panics on anything that the kernel would refuse to load.
    fn run(arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let program = program();
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let to = |yes: bool| usize::from(if yes { jt } else { jf });
            match code {
                LOAD => {
                    accumulator = match k {
                        NUMBER => number,
                        ARCHITECTURE => arch,
                        offset => arguments[((offset - ARGUMENTS) / 8) as usize] as u32,
                    }
                }
                AND => accumulator &= k,
                JUMP => at += k as usize,
                JUMP_EQUAL => at += to(accumulator == k),
                JUMP_AT_LEAST => at += to(accumulator >= k),
                JUMP_ANY_BIT => at += to(accumulator & k != 0),
                RETURN => return k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn call(number: libc::c_long, arguments: &[u64]) -> u32 {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        run(ARCH, number as u32, all)
    }

    const EPERM: u32 = ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = ERRNO | libc::ENOSYS as u32;

    #[test]
    fn the_tree_says_what_the_policy_says() {
        for number in 0..1500 {
            let expected = match number {
                n if policy::CHECKED.iter().any(|(checked, _)| *checked == n) => continue,
                n if policy::REFUSED.contains(&n) => EPERM,
                n if policy::ALLOWED.contains(&n) => ALLOW,
                _ => ENOSYS,
            };
            assert_eq!(call(number, &[]), expected, "call {number}");
        }
    }

    #[test]
    fn no_call_is_named_twice() {
        let mut all: Vec<libc::c_long> = policy::ALLOWED.iter().chain(policy::REFUSED).copied().collect();
        all.extend(policy::CHECKED.iter().map(|(number, _)| *number));
        all.sort_unstable();
        let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn every_namespace_flag_of_clone_is_refused() {
        assert_eq!(call(libc::SYS_clone, &[libc::SIGCHLD as u64]), ALLOW);
        assert_eq!(call(libc::SYS_clone, &[(libc::CLONE_VM | libc::CLONE_THREAD) as u64]), ALLOW);
        for flag in [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWCGROUP,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
        ] {
            assert_eq!(call(libc::SYS_clone, &[(flag | libc::SIGCHLD) as u64]), EPERM);
            assert_eq!(call(libc::SYS_clone, &[flag as u64 | 0xFFFF_FFFF_0000_0000]), EPERM);
        }
        assert_eq!(call(libc::SYS_clone3, &[]), ENOSYS);
    }

    #[test]
    fn other_architectures_are_refused_whole() {
        assert_eq!(run(0x4000_0003, libc::SYS_getpid as u32, [0; 6]), ENOSYS);
        assert_eq!(run(ARCH, X32 | libc::SYS_getpid as u32, [0; 6]), ENOSYS);
        assert_eq!(run(ARCH, u32::MAX, [0; 6]), ENOSYS);
    }

    #[test]
    fn sockets_are_of_known_families() {
        let socket = |family: i32, kind: i32, protocol: i32| {
            call(libc::SYS_socket, &[family as u64, kind as u64, protocol as u64])
        };
        let cloexec = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        assert_eq!(socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | cloexec, 0), ALLOW);
        for family in [libc::AF_INET, libc::AF_INET6] {
            assert_eq!(socket(family, libc::SOCK_STREAM | cloexec, 0), ALLOW);
            assert_eq!(socket(family, libc::SOCK_DGRAM, libc::IPPROTO_UDP), ALLOW);
            assert_eq!(socket(family, libc::SOCK_RAW, libc::IPPROTO_ICMP), EPERM);
            assert_eq!(
                socket(family, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
                ERRNO | libc::EPROTONOSUPPORT as u32
            );
        }
        assert_eq!(socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE), ALLOW);
        assert_eq!(socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER), EPERM);
        assert_eq!(call(libc::SYS_socketpair, &[libc::AF_UNIX as u64, 1]), ALLOW);
        assert_eq!(call(libc::SYS_socketpair, &[libc::AF_TIPC as u64, 1]), EPERM);
    }

    #[test]
    fn the_terminal_cannot_be_typed_into() {
        assert_eq!(call(libc::SYS_ioctl, &[0, libc::TIOCSTI]), EPERM);
        assert_eq!(call(libc::SYS_ioctl, &[0, libc::TIOCSTI | 1 << 40]), EPERM);
        assert_eq!(call(libc::SYS_ioctl, &[0, libc::TIOCGWINSZ]), ALLOW);
        assert_eq!(call(libc::SYS_personality, &[0x0040_0000]), EPERM, "ADDR_NO_RANDOMIZE");
        assert_eq!(call(libc::SYS_personality, &[0xFFFF_FFFF]), ALLOW, "asking");
    }

    #[test]
    fn the_program_is_small() {
        assert!(program().len() < 600, "{}", program().len());
    }

    proptest! {
        #[test]
        fn families_that_are_not_named_are_refused(family in 0u64..300, kind in 0u64..16, protocol in 0u64..300) {
            prop_assume!(![1, 2, 10, 16].contains(&family));
            prop_assert_eq!(call(libc::SYS_socket, &[family, kind, protocol]), EPERM);
        }
    }
}
