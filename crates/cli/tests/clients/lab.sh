# A network of its own in which every address answers: lab.sh OUTSIDE DIRECTORY COMMAND...
#
# Runs COMMAND in DIRECTORY, with the server of DIRECTORY/server.py behind every address of both families and /etc/resolv.conf
# leading to it. OUTSIDE is the network namespace of the caller (readlink /proc/self/ns/net). Exit status: 97 where this is no
# private network, 98 when the server does not start, else that of COMMAND.
set -eu
outside=$1 directory=$2
shift 2

# Nothing may leave the machine: no link but lo, no way out, and not the network of whoever called.
links=$(ip -o link show | cut -d ' ' -f 2)
defaults=$(ip route show default; ip -6 route show default)
inside=$(readlink /proc/self/ns/net)
if [ "$links" != lo: ] || [ -n "$defaults" ] || [ "$inside" = "$outside" ]; then exit 97; fi

ip link set lo up
ip route add local 0.0.0.0/0 dev lo
ip -6 route add local ::/0 dev lo
mount --bind "$directory/resolv.conf" /etc/resolv.conf

cd "$directory"
# Ends with this shell, however that ends.
exec 3< <(exec setpriv --pdeathsig KILL python3 server.py 2>server.err)
read -r _ <&3 || exit 98
code=0
"$@" 3<&- || code=$?
exit "$code"
