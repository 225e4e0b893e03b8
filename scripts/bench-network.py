"""Measures networks of sandboxes beside each other; started by scripts/bench-network, in namespaces that are made for it.

bench-network.py WHO OUTSIDE PLACE ROUNDS SECONDS IDLE: OUTSIDE is the network namespace of the caller (readlink
/proc/self/ns/net), PLACE has the programs `palisade` and `load`. The server is outside of every sandbox, at one address of this
namespace; one client is in each sandbox, and does what it is told, one thing at a time, for all clients in turn.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SERVER = "203.0.113.10"
PORTS = [7001, 7002, 7003, 7004, 7005]
POLICY = """
filesystem: {read_only: [.]}
resources: {open_files: 65536}
network:
  mode: allowlist
  allow: [{cidr: %s/32, ports: %s}]
""" % (SERVER, PORTS)
NO_NETWORK = "filesystem: {read_only: [.]}\nresources: {open_files: 65536}\n"
# An allowlist as the gateway's: to that address and these ports, refused elsewhere.
RULES = """
table inet sandbox {
    chain output {
        type filter hook output priority 0; policy accept;
        oif lo accept
        meta l4proto ipv6-icmp accept
        ip daddr %s tcp dport { %s } accept
        reject
    }
}
""" % (SERVER, ", ".join(map(str, PORTS)))

who, outside, place, rounds, seconds, idle = sys.argv[1:]
rounds, idle, milliseconds = int(rounds), int(idle), int(1000 * float(seconds))
is_root = who == "root"
load, palisade = f"{place}/load", f"{place}/palisade"
# The user who owns the namespaces needs to be privileged in them to make the network, and palisade is not to be.
plain = [] if is_root else ["setpriv", "--inh-caps=-all", "--ambient-caps=-all"]
scratch = tempfile.mkdtemp()


def output(*command, **more):
    return subprocess.run(command, check=True, text=True, capture_output=True, **more).stdout


def guard():
    """Ends the program where this is no private network: nothing may leave the machine."""
    links = [line.split()[1] for line in output("ip", "-o", "link", "show").splitlines()]
    defaults = output("ip", "route", "show", "default") + output("ip", "-6", "route", "show", "default")
    if links != ["lo:"] or defaults.strip() or os.readlink("/proc/self/ns/net") == outside:
        sys.exit(97)


def network():
    """One address to serve at. And a link for pasta to take after, both ends of which are here."""
    batch = f"""link set lo up
addr add {SERVER}/32 dev lo
link add lab0 type veth peer name lab1
addr add 198.51.100.2/24 dev lab0
link set lab0 up
link set lab1 up
route add default via 198.51.100.1 dev lab0
"""
    output("ip", "-batch", "-", input=batch)


class Peer:
    """A client somewhere, and who carries what it says."""

    def __init__(self, name, command, carrier=None):
        self.name, self.carrier = name, carrier
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=place
        )

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        answer = self.process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError(f"{self.name}: {command}: {answer or 'it ended'}")
        return [float(word) for word in answer.split()]

    def resident(self):
        """The memory of the carrier in KiB, as the kernel counts it (proc(5), VmRSS)."""
        with open(f"/proc/{self.carrier}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def namespace(name, kind, attach):
    """A client in a network namespace that `attach` gives a network, before the client begins."""
    own_user = ["--user", "--map-current-user", "--keep-caps"] if kind == "nested" and not is_root else []
    begin = f"ip link set lo up; echo ready; read _; exec {load} client {SERVER}"
    peer = Peer(name, ["unshare", "--net", *own_user, "sh", "-c", begin])
    peer.process.stdout.readline()
    peer.carrier = attach(str(peer.process.pid))
    peer.process.stdin.write("\n")
    return peer


def veth(pid):
    into = ["nsenter", "-t", pid, "-n"]
    output("ip", "-batch", "-", input=f"link add out0 type veth peer name in0 netns {pid}\n"
           "addr add 192.0.2.1/30 dev out0\nlink set out0 up\n")
    output(*into, "ip", "-batch", "-", input="addr add 192.0.2.2/30 dev in0\nlink set in0 up\n"
           "route add default via 192.0.2.1\n")
    output(*into, "nft", "-f", "-", input=RULES)


def pasta(pid):
    file = f"{scratch}/pasta"
    flags = ["--config-net", "--quiet", "--log-file", f"{file}.log", "--pid", f"{file}.pid", "--interface", "lab0",
             "--ipv4-only", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw"]
    mine = [pid]
    if is_root:
        # It gives privileges away before it looks, and then may not look into /proc of others.
        open(f"{scratch}/netns", "w").close()
        output("mount", "--bind", f"/proc/{pid}/ns/net", f"{scratch}/netns")
        mine = ["--runas", "0", "--netns", f"{scratch}/netns"]
    output("pasta", *flags, *mine)
    with open(f"{file}.pid") as numbers:
        return int(numbers.read())


def slirp(pid):
    reader, writer = os.pipe()
    users = [] if is_root else [f"--userns-path=/proc/{pid}/ns/user"]
    process = subprocess.Popen(
        ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", f"--ready-fd={writer}", *users, pid, "tap0"],
        pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    if os.read(reader, 1) != b"1":
        raise RuntimeError("slirp4netns did not start")
    return process.pid


def gateway():
    peer = Peer("gateway", [*plain, palisade, "run", "--policy", f"{scratch}/allow.yaml", "--", load, "client", SERVER])
    peer.ask("connect 1")
    # The gateway is a thread of whichever process of the run is its supervisor.
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            names = [open(f"/proc/{pid}/task/{task}/comm").read() for task in os.listdir(f"/proc/{pid}/task")]
            if "palisade-gatewa\n" in names and is_below(int(pid), peer.process.pid):
                peer.carrier = int(pid)
        except OSError:
            continue
    return peer


def is_below(pid, ancestor):
    while pid > 1:
        if pid == ancestor:
            return True
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rsplit(")", 1)[1].split()[1])
    return False


def start(policy):
    """How long a sandbox of which the program does nothing takes, in ms."""
    command = [*plain, palisade, "run", "--policy", policy, "--", "/bin/true"]
    if plain:
        # Measured without what takes the privileges away: it runs before.
        begun = time.perf_counter()
        code = os.waitpid(os.posix_spawnp(command[0], command, os.environ), 0)[1]
    else:
        begun = time.perf_counter()
        code = os.waitpid(os.posix_spawn(command[0], command, os.environ), 0)[1]
    if code:
        raise RuntimeError(f"palisade run --policy {policy}: status {code}")
    return 1000 * (time.perf_counter() - begun)


def make_peers():
    makers = [
        ("loopback", lambda: Peer("loopback", [load, "client", SERVER])),
        ("veth+nft", lambda: namespace("veth+nft", "plain", veth)),
        ("gateway", gateway),
        ("pasta", lambda: namespace("pasta", "nested", pasta)),
        ("slirp4netns", lambda: namespace("slirp4netns", "nested", slirp)),
    ]
    peers, absent = [], {}
    for name, make in makers:
        try:
            peer = make()
            peer.ask("connect 20")
            peers.append(peer)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            absent[name] = f"{error} {getattr(error, 'stderr', '') or ''}".strip()
    return peers, absent


# Programs of others, which may fail in the middle.
OTHERS = ("pasta", "slirp4netns")


def measure(peers, absent):
    tests = {
        "up, 1 stream, Gbit/s": (f"up 1 {milliseconds}", lambda said: 8e-9 * said[0]),
        "down, 1 stream, Gbit/s": (f"down 1 {milliseconds}", lambda said: 8e-9 * said[0]),
        "up, 4 streams, Gbit/s": (f"up 4 {milliseconds}", lambda said: 8e-9 * said[0]),
        "down, 4 streams, Gbit/s": (f"down 4 {milliseconds}", lambda said: 8e-9 * said[0]),
        "connect and a byte, us": ("connect 500", lambda said: said[1] / 1000),
        "connections/s, 4 at a time": (f"rate 4 {milliseconds}", lambda said: said[0]),
    }
    found = {name: {peer.name: [] for peer in peers} for name in tests}
    starts = {"allowlist": [], "no network": []}
    for turn in range(rounds):
        for name, (command, read) in tests.items():
            for peer in peers[turn % len(peers) :] + peers[: turn % len(peers)]:
                try:
                    found[name][peer.name].append(read(peer.ask(command)))
                except (OSError, RuntimeError) as error:
                    if peer.name not in OTHERS:
                        raise
                    # It has no figure for this time. The others' do not depend on it.
                    absent[f"{peer.name}, {name}, round {turn + 1}"] = str(error)
        for _ in range(10):
            starts["allowlist"].append(start(f"{scratch}/allow.yaml"))
            starts["no network"].append(start(f"{scratch}/none.yaml"))
    found["start, ms"] = starts
    return {name: {peer: values for peer, values in of.items() if values} for name, of in found.items()}


def memory(peers, absent):
    """KiB of the carrier before, and for each thousand that it carries."""
    idle_before, each = {}, {}
    for peer in peers:
        if peer.carrier:
            idle_before[peer.name] = [peer.resident()]
            try:
                peer.ask("hold 1000")
                each[peer.name] = [peer.resident() - idle_before[peer.name][0]]
                peer.ask("release")
            except (OSError, RuntimeError) as error:
                if peer.name not in OTHERS:
                    raise
                absent[f"{peer.name}, 1,000 connections"] = str(error)
    return {"carrier, KiB": idle_before, "carrier, KiB more for 1,000 connections": each}


def many(peers):
    """MiB of the carrier with as many idle connections as were asked for, and the share of a processor that it uses then."""
    peer = next(peer for peer in peers if peer.name == "gateway")
    try:
        held = int(peer.ask(f"hold {idle}")[0])
    except RuntimeError as error:
        return {}, {f"{idle} idle connections": str(error)}
    size = peer.resident() / 1024
    used = lambda: sum(map(int, open(f"/proc/{peer.carrier}/stat").read().rsplit(")", 1)[1].split()[11:13]))
    ticks = used()
    time.sleep(2)
    share = (used() - ticks) / os.sysconf("SC_CLK_TCK") / 2
    peer.ask("release")
    return {f"carrier with {held} idle, MiB": {"gateway": [size]}, f"processor with {held} idle": {"gateway": [share]}}, {}


def goals(found):
    """What is aimed at, as a ratio of medians in this run: name, ratio, bound, whether it is to be at least that."""
    middle = {test: {name: statistics.median(values) for name, values in of.items()} for test, of in found.items()}
    for test in [test for test in middle if "stream" in test]:
        for name, bound in ("veth+nft", 0.7), ("pasta", 1), ("slirp4netns", 1):
            if name in middle[test]:
                yield f"{test.rsplit(',', 1)[0]}: of {name}", middle[test]["gateway"] / middle[test][name], bound, True
    connect = middle["connect and a byte, us"]
    yield "connect: of loopback", connect["gateway"] / connect["loopback"], 4, False
    starts = middle["start, ms"]
    yield "start: of no network", starts["allowlist"] / starts["no network"], 1.2, False
    yield "resident, MiB", middle["carrier, KiB"]["gateway"] / 1024, 8, False
    for test, of in middle.items():
        if "idle, MiB" in test:
            yield f"{test.replace(', MiB', '')}, MiB", of["gateway"], 64, False


def table(found):
    names = list(dict.fromkeys(name for of in found.values() for name in of))
    print(f"{'median (p10 to p90)':42}" + "".join(f"{name:>24}" for name in names))
    for test, of in found.items():
        cells = []
        for name in names:
            values = sorted(of.get(name, []))
            at = lambda share: values[round(share * (len(values) - 1))]
            cells.append("" if not values else f"{statistics.median(values):.4g}" if len(values) == 1 else
                         f"{statistics.median(values):.4g} ({at(0.1):.4g} to {at(0.9):.4g})")
        print(f"{test:42}" + "".join(f"{cell:>24}" for cell in cells))


def main():
    guard()
    network()
    for name, text in ("allow.yaml", POLICY), ("none.yaml", NO_NETWORK):
        with open(f"{scratch}/{name}", "w") as file:
            file.write(text)
    server = subprocess.Popen([load, "serve", SERVER], stdout=subprocess.PIPE)
    server.stdout.readline()
    peers, absent = make_peers()
    found = measure(peers, absent)
    found.update(memory(peers, absent))
    if idle:
        more, failed = many(peers)
        found.update(more)
        absent.update(failed)
    for peer in peers:
        peer.end()
    server.kill()
    print(f"== as {who}, Linux {os.uname().release}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {rounds} rounds")
    table(found)
    for name, why in absent.items():
        print(f"absent: {name}: {why}")
    judged = [{"goal": name, "ratio": ratio, "bound": bound, "met": (ratio >= bound) == at_least or ratio == bound,
               "at": "least" if at_least else "most"} for name, ratio, bound, at_least in goals(found)]
    for one in judged:
        verdict = "met" if one["met"] else "MISSED"
        print(f"{one['goal']:42}{one['ratio']:10.2f}   at {one['at']} {one['bound']}: {verdict}")
    print("json:", json.dumps({"as": who, "kernel": os.uname().release, "rounds": rounds, "seconds": milliseconds / 1000,
                               "values": found, "absent": absent, "goals": judged}))


main()
