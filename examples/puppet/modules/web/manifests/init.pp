# @summary A web server that answers on one port with a page and with the version of its configuration.
#
# @param version
#   The version of the package that this code came in.
# @param port
#   Where it listens.
class web (
  String[1] $version,
  Integer[1, 65535] $port = 8081,
) {
  # One open file kept in mind for each MiB of memory.
  $open_files = $facts['memory']['system']['total_bytes'] / 1048576

  package { 'nginx-light':
    ensure => installed,
  }

  file { '/var/www/example':
    ensure  => directory,
    mode    => '0755',
    require => Package['nginx-light'],
  }

  file { '/var/www/example/index.html':
    content => "This server is ${facts['networking']['hostname']}.\n",
    mode    => '0644',
  }

  file { '/etc/nginx/sites-enabled/default':
    ensure  => absent,
    require => Package['nginx-light'],
    notify  => Service['nginx'],
  }

  file { '/etc/nginx/conf.d/example.conf':
    content => epp('web/site.conf.epp', { 'port' => $port, 'version' => $version, 'open_files' => $open_files }),
    mode    => '0644',
    require => Package['nginx-light'],
    notify  => Service['nginx'],
  }

  service { 'nginx':
    ensure  => running,
    enable  => true,
    restart => '/usr/bin/systemctl reload nginx',
  }
}
