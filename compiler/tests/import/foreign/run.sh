#!/bin/sh
set -e
systemctl restart keepalived
