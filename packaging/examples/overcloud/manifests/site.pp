# Gated by Hiera's `step`, as the overcloud manifests of 2015 were: each run does all work up to its step.
$step = lookup('step')
$role = lookup('demo::role')

if $step >= 1 {
  file { '/var/lib/rdo-demo':
    ensure => directory,
    mode   => '0755',
  }
  file { '/var/lib/rdo-demo/base':
    ensure  => file,
    content => "role ${role}, greeting ${lookup('demo::greeting')}\n",
  }
}

if $step >= 2 {
  # A status page without any server software: systemd hands each connection to `cat`.
  file { '/var/lib/rdo-demo/status':
    ensure  => file,
    content => "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n${role} ${facts['networking']['hostname']}\n",
  }
  file { '/etc/systemd/system/rdo-demo.socket':
    ensure  => file,
    content => "[Socket]\nListenStream=${lookup('demo::port')}\nAccept=yes\n\n[Install]\nWantedBy=sockets.target\n",
  }
  file { '/etc/systemd/system/rdo-demo@.service':
    ensure  => file,
    content => "[Service]\nExecStart=/bin/cat /var/lib/rdo-demo/status\nStandardInput=socket\nStandardOutput=socket\nDynamicUser=yes\n",
  }
  service { 'rdo-demo.socket':
    ensure    => running,
    enable    => true,
    subscribe => File['/etc/systemd/system/rdo-demo.socket', '/etc/systemd/system/rdo-demo@.service'],
  }
}

if $step >= 3 {
  file { '/var/lib/rdo-demo/ready':
    ensure  => file,
    content => "${role} is ready\n",
  }
}
