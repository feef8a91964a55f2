# Ends what runs as the user id of a VM whose QEMU has ended, and takes the file system of its logs
# away. One process for all of it.
#
# Arguments: the folder of the run directories, the user id or nothing, and where the logs are or
# nothing.
my ($root, $uid, $log) = @ARGV;

# Whether anybody runs as that user, which the kernel tells at once: to read all of /proc costs more
# than everything else here. A thread counts, and one that has ended while its like go on.
sub is_anybody {
    local $! = 0;
    my $priority = getpriority 2, $uid;
    return $! == 0;
}

sub processes {
    opendir my $folder, '/proc' or return;
    return grep { of_user($_) } grep { /^[0-9]+$/ } readdir $folder;
}

# By the real one: nothing that has another can come from that user.
sub of_user {
    sysopen my $file, "/proc/$_[0]/status", 0 or return 0;
    sysread $file, my $status, 65536;
    return $status =~ /^Uid:\t$uid\t/m;
}

# Of the user ids that are a VM's own, whatever runs as that user is that VM's: unless another
# inventory has given its number to a VM of another name.
sub is_one_vms {
    return 0 if $uid !~ /^19000[0-6][0-9]{4}$/;
    opendir my $folder, $root or return 0;
    return 2 > grep { lstat "$root/$_"; -d _ && (lstat _)[5] == $uid } grep { !/^\.\.?$/ } readdir $folder;
}

if (is_one_vms()) {
    for (1 .. 60) {
        last if !is_anybody();
        kill 'KILL', processes();
        select undef, undef, undef, $_ > 10 ? 0.02 : 0.002;
    }
}

# umount2, without waiting for who has a log open, and not of what a link leads to.
if (defined $log && -d $log) {
    my $umount = number(166, 39);
    $umount ? syscall $umount, $log, 2 | 8 : system 'umount', '-l', $log;
}
