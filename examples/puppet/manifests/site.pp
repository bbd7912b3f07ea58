# What every server is that this package is deployed to.
node default {
  class { 'web':
    version => strip(file('web/VERSION')),
  }
}
