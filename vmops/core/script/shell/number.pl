# The number of a system call that Perl has no word for: on x86-64 and on ARM, the machine that this
# perl is made for. Nothing on any other.
sub number {
    my ($x86, $arm) = @_;
    open my $self, '<', '/proc/self/exe' or return;
    sysread $self, my $head, 20;
    return {62 => $x86, 183 => $arm}->{unpack 'x18 S', $head};
}
