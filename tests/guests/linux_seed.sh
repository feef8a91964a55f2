#!/bin/sh
# Runs after /etc/rc where the guest is to know a seed: it does what cloud-init would, as far as can
# be seen from outside, and says on the serial port what it has read.

modprobe_all() {
    while read -r module; do
        insmod "/lib/modules/$module.ko"
    done </lib/modules/order-seed
}

find_seed() {
    tries=300
    while [ "$tries" -gt 0 ]; do
        for device in /dev/sr0 /dev/sr1; do
            mount -t iso9660 -o ro "$device" /seed 2>/dev/null && return 0
        done
        tries=$((tries - 1))
        usleep 100000
    done
    return 1
}

say() {
    echo "VMOPS-SEED $*" >/dev/ttyS0
}

# The value of a key in JSON that has a line for each.
value() {
    sed -n "s/^ *\"$1\": \"\\(.*\\)\",*\$/\\1/p" "$2"
}

modprobe_all 2>/dev/null
mkdir /seed
find_seed || { say none; exit; }
hostname "$(value local-hostname /seed/meta-data)"
say "instance $(value instance-id /seed/meta-data)"
say "hostname $(hostname)"
grep -o 'ssh-ed25519 [^"]*' /seed/user-data | while read -r key; do say "key $key"; done

mac=
[ ! -e /seed/network-config ] || while read -r line; do
    case $line in
        '"macaddress": '*) mac=${line#*: \"} mac=${mac%%\"*} ;;
        '"'*/[0-9]*'"'*)
            address=${line#\"} address=${address%%\"*}
            for path in /sys/class/net/eth*; do
                [ "$(cat "$path/address")" = "$mac" ] || continue
                ip address add "$address" dev "${path##*/}"
                say "address $mac $address"
            done ;;
    esac
done </seed/network-config

# The guest's own cloud-init ends as the packages that are asked for say.
code=0
grep -q '"package-that-warns"' /seed/user-data && code=2
grep -q '"package-that-fails"' /seed/user-data && code=1
cat >/bin/cloud-init <<PROGRAM
#!/bin/sh
[ "\$2" = --wait ] || printf 'status: odd\ndetail:\n\tno such package\n'
exit $code
PROGRAM
chmod 755 /bin/cloud-init
command=$(sed -n '/cloud-init status --wait/{s/^ *"//;s/"$//;s/\\\(["\\]\)/\1/g;p}' /seed/user-data)
sh -c "$command"
