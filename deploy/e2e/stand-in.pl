# Stands in for Loki and Grafana in the end-to-end test, where their images cannot be had: answers every GET with 200
# and the health of Grafana, keeps the body of every POST in /tmp/received, one a line.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket;

my $port = shift @ARGV;
$port =~ /^\d+$/ or $port = 3000;
$SIG{TERM} = sub { exit 0 };
my $server = IO::Socket::INET->new(LocalPort => $port, Listen => 64, ReuseAddr => 1) or die "port $port: $!";
while (1) {
    my $client = $server->accept() or next;
    local $SIG{ALRM} = sub { close $client };
    alarm 10;
    while (my $head = <$client>) {
        my ($length, $line) = (0, '');
        while (defined($line = <$client>)) {
            $line =~ s/\r?\n$//;
            last if $line eq '';
            $length = $1 if $line =~ /^content-length:\s*(\d+)/i;
        }
        my $body = '';
        while (length $body < $length) {
            my $count = read($client, $body, $length - length $body, length $body);
            last unless $count;
        }
        if ($head =~ /^POST/) {
            $body =~ s/\n/ /g;
            open(my $file, '>>', '/tmp/received') or die $!;
            print $file "$body\n";
            close $file;
        }
        my $answer = $head =~ /^POST/ ? '{}' : '{"database":"ok"}';
        print $client "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " . length($answer) . "\r\nconnection: close\r\n\r\n$answer";
        last;
    }
    alarm 0;
    close $client;
}
