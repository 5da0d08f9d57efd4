"""The paper of the pad and of the web page, in a browser: what draws on it for the tests."""


class Paper:
    """Its class has `page` and `paper`, the canvas."""

    def place(self, x, y):
        """Where on the page a place on the paper is, given in its units."""
        box = self.paper.bounding_box()
        return box["x"] + x * box["width"] / 280, box["y"] + y * box["height"] / 280

    def draw(self, strokes):
        for first, *others in strokes:
            self.page.mouse.move(*self.place(*first))
            self.page.mouse.down()
            for point in others:
                self.page.mouse.move(*self.place(*point), steps=6)
            self.page.mouse.up()
